// Azure Managed Redis, for results that instances share. A cache: nothing is lost with it.
@description('Azure region')
param location string
@description('Name of the cluster: letters, digits and hyphens')
param name string
@description('Tags of every resource')
param tags object
@description('Size, such as Balanced_B0')
param sku string
@description('Keep a replica; without it the cache is away while Azure maintains it')
param highAvailability bool
@description('Reachable through the private endpoint only')
param privateOnly bool
@description('Object ID of the identity of the service')
param principalId string
@description('Log Analytics workspace')
param workspaceId string

resource cluster 'Microsoft.Cache/redisEnterprise@2025-07-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: sku
  }
  properties: {
    highAvailability: highAvailability ? 'Enabled' : 'Disabled'
    minimumTlsVersion: '1.2'
    publicNetworkAccess: privateOnly ? 'Disabled' : 'Enabled'
  }
}

// One endpoint: the client of the service does not follow redirections, so OSSCluster would not do.
resource database 'Microsoft.Cache/redisEnterprise/databases@2025-07-01' = {
  parent: cluster
  name: 'default'
  properties: {
    clientProtocol: 'Encrypted'
    port: 10000
    clusteringPolicy: 'EnterpriseCluster'
    evictionPolicy: 'AllKeysLRU'
    accessKeysAuthentication: 'Disabled'
  }
}

// `default` is the only policy there is: all commands on all keys.
resource access 'Microsoft.Cache/redisEnterprise/databases/accessPolicyAssignments@2025-07-01' = {
  parent: database
  name: 'relance'
  properties: {
    accessPolicyName: 'default'
    user: {
      objectId: principalId
    }
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: cluster
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

output id string = cluster.id
output url string = 'rediss://${cluster.properties.hostName}:${database.properties.port}'
