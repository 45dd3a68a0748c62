// Virtual network: one subnet for what the web app sends, one for private endpoints, and the zones that name them.
@description('Azure region')
param location string
@description('Prefix of the resource names')
param name string
@description('Tags of every resource')
param tags object
@description('Address space')
param addressPrefix string
@description('Part of it for what the web app sends: /27 or larger, /26 for more than 10 instances')
param appPrefix string
@description('Part of it for private endpoints')
param endpointsPrefix string

// Where the names of each service are looked up, inside the network.
var blobZone = 'privatelink.blob.${environment().suffixes.storage}'
var cosmosZone = 'privatelink.documents.azure.com'
var redisZone = 'privatelink.redis.azure.net'
var vaultZone = 'privatelink.vaultcore.azure.net'
var zoneNames = [
  blobZone
  cosmosZone
  redisZone
  vaultZone
]

resource group 'Microsoft.Network/networkSecurityGroups@2024-05-01' = {
  name: '${name}-nsg'
  location: location
  tags: tags
}

resource network 'Microsoft.Network/virtualNetworks@2024-05-01' = {
  name: '${name}-net'
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [
        addressPrefix
      ]
    }
    subnets: [
      {
        name: 'app'
        properties: {
          addressPrefix: appPrefix
          networkSecurityGroup: {
            id: group.id
          }
          delegations: [
            {
              name: 'app-service'
              properties: {
                serviceName: 'Microsoft.Web/serverFarms'
              }
            }
          ]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: endpointsPrefix
          networkSecurityGroup: {
            id: group.id
          }
        }
      }
    ]
  }
}

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' = [for zoneName in zoneNames: {
  name: zoneName
  location: 'global'
  tags: tags
}]

resource link 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for (zoneName, i) in zoneNames: {
  parent: zone[i]
  name: '${name}-net'
  location: 'global'
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: network.id
    }
  }
}]

output appSubnetId string = network.properties.subnets[0].id
output endpointSubnetId string = network.properties.subnets[1].id
output blobZone string = blobZone
output cosmosZone string = cosmosZone
output redisZone string = redisZone
output vaultZone string = vaultZone
