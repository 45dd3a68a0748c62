// Records. The container is defined once, in cosmos-container.json; docs/cosmos.md says why it is as it is.
@description('Azure region')
param location string
@description('Name of the account: lower-case letters, digits and hyphens')
param name string
@description('Tags of every resource')
param tags object
@description('Database')
param databaseName string
@description('Pay for each request instead of for throughput; for little or uneven traffic, in one region')
param serverless bool
@description('Highest throughput in RU/s, from which it goes down to a tenth; not used with serverless')
@minValue(1000)
param maxThroughput int
@description('Spread over availability zones')
param zoneRedundant bool
@description('Reachable through the private endpoint only')
param privateOnly bool
@description('Object ID of the identity of the service')
param principalId string
@description('Log Analytics workspace')
param workspaceId string

var container = loadJsonContent('../cosmos-container.json')
var dataContributor = '00000000-0000-0000-0000-000000000002'

resource account 'Microsoft.DocumentDB/databaseAccounts@2025-04-15' = {
  // checkov:skip=CKV_AZURE_99:without private networking the addresses that App Service calls from are not known beforehand; every access needs a token
  // checkov:skip=CKV_AZURE_101:public access is off with private networking; without it, every access needs a token
  name: name
  location: location
  tags: tags
  kind: 'GlobalDocumentDB'
  properties: {
    databaseAccountOfferType: 'Standard'
    locations: [
      {
        locationName: location
        failoverPriority: 0
        isZoneRedundant: zoneRedundant
      }
    ]
    capabilities: serverless ? [
      {
        name: 'EnableServerless'
      }
    ] : []
    consistencyPolicy: {
      defaultConsistencyLevel: 'Session'
    }
    disableLocalAuth: true
    disableKeyBasedMetadataWriteAccess: true
    minimalTlsVersion: 'Tls12'
    publicNetworkAccess: privateOnly ? 'Disabled' : 'Enabled'
    backupPolicy: {
      type: 'Continuous'
      continuousModeProperties: {
        tier: 'Continuous7Days'
      }
    }
  }
}

resource database 'Microsoft.DocumentDB/databaseAccounts/sqlDatabases@2025-04-15' = {
  parent: account
  name: databaseName
  properties: {
    resource: {
      id: databaseName
    }
  }
}

resource records 'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers@2025-04-15' = {
  parent: database
  name: container.id
  properties: {
    resource: container
    options: serverless ? {} : {
      autoscaleSettings: {
        maxThroughput: maxThroughput
      }
    }
  }
}

// At the account, which holds nothing else: the client also reads the account's regions.
resource role 'Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments@2025-04-15' = {
  parent: account
  name: guid(account.id, principalId, dataContributor)
  properties: {
    principalId: principalId
    roleDefinitionId: '${account.id}/sqlRoleDefinitions/${dataContributor}'
    scope: account.id
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: account
  properties: {
    workspaceId: workspaceId
    logAnalyticsDestinationType: 'Dedicated'
    logs: [
      {
        category: 'ControlPlaneRequests'
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'Requests'
        enabled: true
      }
    ]
  }
}

output id string = account.id
output endpoint string = account.properties.documentEndpoint
output containerName string = records.name
