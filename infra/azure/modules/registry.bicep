// Container registry. Images are pulled with the identity of the service; there is no administrator's password.
@description('Azure region')
param location string
@description('Name of the registry: letters and digits')
param name string
@description('Tags of every resource')
param tags object
@allowed(['Basic', 'Standard', 'Premium'])
@description('Premium adds zone redundancy')
param sku string
@description('Object ID of the identity of the service')
param principalId string
@description('Object ID of the identity that pushes images; empty: none is given the role')
param deployerPrincipalId string
@description('Log Analytics workspace')
param workspaceId string

var acrPull = '7f951dda-4ed3-4680-a7ca-43fe172d538d'
var acrPush = '8311e382-0749-4cb8-b61a-304f252e45ec'

resource registry 'Microsoft.ContainerRegistry/registries@2025-04-01' = {
  // checkov:skip=CKV_AZURE_139:images are pushed from outside the virtual network; every access needs a token of Microsoft Entra ID
  // checkov:skip=CKV_AZURE_163:Defender for Containers is switched on for a subscription, not for a registry
  // checkov:skip=CKV_AZURE_166:quarantine needs a scanner that releases images
  // checkov:skip=CKV_AZURE_233:zone redundancy is on with Premium
  name: name
  location: location
  tags: tags
  sku: {
    name: sku
  }
  properties: {
    adminUserEnabled: false
    anonymousPullEnabled: false
    publicNetworkAccess: 'Enabled'
    zoneRedundancy: sku == 'Premium' ? 'Enabled' : 'Disabled'
  }
}

resource pull 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(registry.id, principalId, acrPull)
  scope: registry
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', acrPull)
  }
}

resource push 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(deployerPrincipalId)) {
  name: guid(registry.id, deployerPrincipalId, acrPush)
  scope: registry
  properties: {
    principalId: deployerPrincipalId
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', acrPush)
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: registry
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        categoryGroup: 'audit'
        enabled: true
      }
    ]
  }
}

output name string = registry.name
output loginServer string = registry.properties.loginServer
