// The identity that the web app and its staging slot share. It outlives both, so roles need not be given again.
@description('Azure region')
param location string
@description('Name of the identity')
param name string
@description('Tags of every resource')
param tags object

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: name
  location: location
  tags: tags
}

output id string = identity.id
output clientId string = identity.properties.clientId
output principalId string = identity.properties.principalId
