// Pictures. Reached with tokens of Microsoft Entra ID only: no shared keys, no anonymous access.
@description('Azure region')
param location string
@description('Name of the account: at most 24 lower-case letters and digits')
param name string
@description('Tags of every resource')
param tags object
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
@description('How pictures are replicated')
param sku string
@description('Container for pictures')
param containerName string
@description('Container for models')
param modelsContainerName string
@description('Days after which pictures are deleted; 0: never')
@minValue(0)
param retentionDays int
@description('Days after which pictures move to the cool tier, which is cheaper to keep and dearer to read')
@minValue(1)
param coolAfterDays int
@description('Days in which a deleted picture can be brought back; 0: none')
@minValue(0)
@maxValue(365)
param softDeleteDays int
@description('Reachable through the private endpoint only')
param privateOnly bool
@description('Object ID of the identity of the service')
param principalId string
@description('Log Analytics workspace')
param workspaceId string

var blobDataContributor = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  // checkov:skip=CKV_AZURE_43:the name is computed, from letters and digits, at most 24
  // checkov:skip=CKV_AZURE_35:without private networking the addresses that App Service calls from are not known beforehand; every access needs a token
  // checkov:skip=CKV_AZURE_59:public access is off with private networking; without it, every access needs a token
  // checkov:skip=CKV_AZURE_206:replication across zones or regions is chosen by a parameter
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: sku
  }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    isLocalUserEnabled: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: privateOnly ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: privateOnly ? 'Deny' : 'Allow'
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-06-01' = {
  parent: account
  name: 'default'
  properties: {
    deleteRetentionPolicy: softDeleteDays > 0 ? {
      enabled: true
      days: softDeleteDays
    } : {
      enabled: false
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: 7
    }
  }
}

resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = {
  parent: blobs
  name: containerName
  properties: {
    publicAccess: 'None'
  }
}

resource models 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = {
  parent: blobs
  name: modelsContainerName
  properties: {
    publicAccess: 'None'
  }
}

// A picture is stored once and not written again, so its age is that of the first request that brought it.
resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2025-06-01' = {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'pictures'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: {
              blobTypes: ['blockBlob']
              prefixMatch: ['${containerName}/']
            }
            actions: {
              baseBlob: retentionDays > 0 ? {
                tierToCool: retentionDays > coolAfterDays ? {
                  daysAfterModificationGreaterThan: coolAfterDays
                } : null
                delete: {
                  daysAfterModificationGreaterThan: retentionDays
                }
              } : {
                tierToCool: {
                  daysAfterModificationGreaterThan: coolAfterDays
                }
              }
            }
          }
        }
      ]
    }
  }
}

resource role 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(container.id, principalId, blobDataContributor)
  scope: container
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataContributor)
  }
}

resource modelsRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(models.id, principalId, blobDataContributor)
  scope: models
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataContributor)
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: blobs
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        categoryGroup: 'audit'
        enabled: true
      }
    ]
    metrics: [
      {
        category: 'Transaction'
        enabled: true
      }
    ]
  }
}

output id string = account.id
output blobEndpoint string = account.properties.primaryEndpoints.blob
