// Credentials of the API and the connection string of Application Insights. App settings refer to them by name.
@description('Azure region')
param location string
@description('Name of the vault: at most 24 letters, digits and hyphens')
param name string
@description('Tags of every resource')
param tags object
@secure()
@description('Password of the API; empty: what the vault holds stays')
param apiPassword string
@secure()
@description('Entries of API_KEYS; empty: what the vault holds stays')
param apiKeys string
@description('Application Insights')
param insightsName string
@description('Days in which a deleted vault or secret can be brought back')
@minValue(7)
@maxValue(90)
param softDeleteDays int
@description('Reachable through the private endpoint only')
param privateOnly bool
@description('Object ID of the identity of the service')
param principalId string
@description('Object ID of the identity that deploys, which reads the password for its trial request; empty: none')
param deployerPrincipalId string
@description('Log Analytics workspace')
param workspaceId string

var secretsUser = '4633458b-17de-408a-b874-0445c86b69e6'

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  // checkov:skip=CKV_AZURE_109:without private networking the addresses that App Service calls from are not known beforehand; every access needs a token
  // checkov:skip=CKV_AZURE_189:public access is off with private networking; without it, every access needs a token
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: subscription().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: softDeleteDays
    enablePurgeProtection: true
    publicNetworkAccess: privateOnly ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: privateOnly ? 'Deny' : 'Allow'
    }
  }
}

resource password 'Microsoft.KeyVault/vaults/secrets@2024-11-01' = if (!empty(apiPassword)) {
  // checkov:skip=CKV_AZURE_114:it has a content type; the check does not look into resources with a condition
  // checkov:skip=CKV_AZURE_41:a password that expires by itself would lock every client out; docs/azure.md tells how it is changed
  parent: vault
  name: 'api-password'
  properties: {
    value: apiPassword
    contentType: 'text/plain'
  }
}

resource keys 'Microsoft.KeyVault/vaults/secrets@2024-11-01' = if (!empty(apiKeys)) {
  // checkov:skip=CKV_AZURE_114:it has a content type; the check does not look into resources with a condition
  // checkov:skip=CKV_AZURE_41:keys that expire by themselves would lock every client out; docs/azure.md tells how they are changed
  parent: vault
  name: 'api-keys'
  properties: {
    value: apiKeys
    contentType: 'name:sha256hex, comma separated'
  }
}

resource connectionString 'Microsoft.KeyVault/vaults/secrets@2024-11-01' = {
  // checkov:skip=CKV_AZURE_41:it lasts as long as the resource that it names
  parent: vault
  name: 'applicationinsights-connection-string'
  properties: {
    value: insights.properties.ConnectionString
    contentType: 'text/plain'
  }
}

resource role 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, principalId, secretsUser)
  scope: vault
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', secretsUser)
  }
}

resource deployerRole 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(deployerPrincipalId)) {
  name: guid(vault.id, deployerPrincipalId, secretsUser)
  scope: vault
  properties: {
    principalId: deployerPrincipalId
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', secretsUser)
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: vault
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

output id string = vault.id
output name string = vault.name
