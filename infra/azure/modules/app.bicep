// App Service plan, web app and staging slot. Both run a container and have the same settings, so that a swap
// restarts nothing and takes the image, and only the image, from one to the other.
@description('Azure region')
param location string
@description('Name of the web app; its host name begins with it')
param name string
@description('Tags of every resource')
param tags object
@description('Size of the instances; slots and zones need P0v3 or larger')
param planSku string
@description('Instances to begin with; from then on autoscale decides')
@minValue(1)
param instances int
@description('Spread the instances over availability zones; needs two or more')
param zoneRedundant bool
@description('Identity of the service: resource, client ID')
param identity object
@description('Container image of the production slot, as REGISTRY/NAME:TAG')
param image string
@description('Container image of the staging slot')
param stagingImage string
@description('Settings of the service and of App Service, as an object of strings')
param settings object
@description('Subnet for what the app sends; empty: it uses addresses of App Service')
param subnetId string
@description('Log Analytics workspace')
param workspaceId string
@description('Write a line for each request to the workspace; alerts on error rate and latency need them')
param httpLogs bool

var appSettings = [for setting in items(settings): {
  name: setting.key
  value: setting.value
}]

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  // checkov:skip=CKV_AZURE_225:zone redundancy is a parameter
  name: '${name}-plan'
  location: location
  tags: tags
  kind: 'linux'
  sku: {
    name: planSku
    capacity: instances
  }
  properties: {
    reserved: true
    zoneRedundant: zoneRedundant
  }
}

resource site 'Microsoft.Web/sites@2024-11-01' = {
  // checkov:skip=CKV_AZURE_17:clients are programs and browsers with keys or passwords, not certificates
  // checkov:skip=CKV_AZURE_212:the number of instances is that of the plan
  // checkov:skip=CKV_AZURE_222:the API is for the internet
  name: name
  location: location
  tags: tags
  kind: 'app,linux,container'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identity.id}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    keyVaultReferenceIdentity: identity.id
    publicNetworkAccess: 'Enabled'
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: {
      linuxFxVersion: 'DOCKER|${image}'
      acrUseManagedIdentityCreds: true
      acrUserManagedIdentityID: identity.clientId
      alwaysOn: true
      appSettings: appSettings
      ftpsState: 'Disabled'
      healthCheckPath: '/health/ready'
      http20Enabled: true
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      vnetRouteAllEnabled: !empty(subnetId)
      webSocketsEnabled: false
    }
  }
}

resource staging 'Microsoft.Web/sites/slots@2024-11-01' = {
  // checkov:skip=CKV_AZURE_212:the number of instances is that of the plan
  // checkov:skip=CKV_AZURE_222:a release is tried out here before it gets traffic, from where it was built
  parent: site
  name: 'staging'
  location: location
  tags: tags
  kind: 'app,linux,container'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identity.id}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    keyVaultReferenceIdentity: identity.id
    publicNetworkAccess: 'Enabled'
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: {
      linuxFxVersion: 'DOCKER|${stagingImage}'
      acrUseManagedIdentityCreds: true
      acrUserManagedIdentityID: identity.clientId
      alwaysOn: true
      appSettings: appSettings
      ftpsState: 'Disabled'
      healthCheckPath: '/health/ready'
      http20Enabled: true
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      vnetRouteAllEnabled: !empty(subnetId)
      webSocketsEnabled: false
    }
  }
}

// Nobody signs in with a user name and a password to deploy.
resource siteFtp 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: site
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource siteScm 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: site
  name: 'scm'
  properties: {
    allow: false
  }
}

resource stagingFtp 'Microsoft.Web/sites/slots/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: staging
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource stagingScm 'Microsoft.Web/sites/slots/basicPublishingCredentialsPolicies@2024-11-01' = {
  parent: staging
  name: 'scm'
  properties: {
    allow: false
  }
}

resource siteDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: site
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'AppServiceHTTPLogs'
        enabled: httpLogs
      }
      {
        category: 'AppServiceConsoleLogs'
        enabled: true
      }
      {
        category: 'AppServicePlatformLogs'
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'AllMetrics'
        enabled: true
      }
    ]
  }
}

resource stagingDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: staging
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'AppServiceConsoleLogs'
        enabled: true
      }
      {
        category: 'AppServicePlatformLogs'
        enabled: true
      }
    ]
  }
}

resource planDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: plan
  properties: {
    workspaceId: workspaceId
    metrics: [
      {
        category: 'AllMetrics'
        enabled: true
      }
    ]
  }
}

output planId string = plan.id
output siteId string = site.id
output siteName string = site.name
output hostName string = site.properties.defaultHostName
output stagingHostName string = staging.properties.defaultHostName
