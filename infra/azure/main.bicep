// relance on Azure App Service, in one resource group. docs/azure.md says what each part is for and what it costs.
targetScope = 'resourceGroup'

@description('Azure region')
param location string = resourceGroup().location
@allowed(['dev', 'prod'])
@description('Part of the names of all resources')
param environmentName string

// What runs. deploy.sh gives these, so that setting up the resources again changes nothing of it.
@description('Container image of the production slot; empty: one that serves nothing, until the first release')
param image string = ''
@description('Container image of the staging slot; empty: the same')
param stagingImage string = ''

@description('Instances that run; autoscale changes them, and 0 means as few as there may be')
@minValue(0)
param instances int = 0

@description('Size of the instances: P0v3 or larger')
param planSku string
@description('Fewest instances; the health check replaces sick ones only if there are two or more')
@minValue(1)
param minInstances int
@description('Most instances')
@minValue(1)
param maxInstances int
@description('Instances that autoscale adds at once: what the load may jump by')
@minValue(1)
param scaleOutBy int = 3
@description('Spread what can be spread over availability zones; needs two instances and a region that has zones')
param zoneRedundant bool
@description('Times with other bounds for the instances; modules/autoscale.bicep tells the form')
param schedules array = []

@description('User name of the API')
param apiUsername string = 'relance'
@secure()
@description('Password of the API; needed the first time, later empty: it stays')
param apiPassword string = ''
@secure()
@description('Entries of API_KEYS; empty: they stay')
param apiKeys string = ''
@description('The vault holds api-keys from an earlier time')
param apiKeysInVault bool = false
@description('Days that records and pictures are kept; 0: for ever')
@minValue(0)
param retentionDays int
@allowed(['full', 'truncated', 'off'])
@description('How addresses of clients are kept')
param userIp string = 'truncated'
@description('Part of the requests whose traces are recorded, 0 to 1')
param traceSampleRatio string = '0.1'

@description('Size of Azure Managed Redis, such as Balanced_B0; empty: none')
param redisSku string
@description('Keep a replica of Redis')
param redisHighAvailability bool = false
@description('Pay for each request to Cosmos DB instead of for throughput')
param cosmosServerless bool
@description('Highest throughput of Cosmos DB in RU/s, if it is not serverless')
@minValue(1000)
param cosmosMaxThroughput int = 1000
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS'])
@description('How pictures are replicated')
param storageSku string
@allowed(['Basic', 'Standard', 'Premium'])
@description('Tier of the container registry')
param registrySku string = 'Basic'
@description('Days in which deleted pictures can be brought back, also those that a client had removed')
param softDeleteDays int = 7
@description('Days in which a deleted key vault can be brought back, and its name is taken')
param vaultSoftDeleteDays int = 7

@description('Reach the stores and the vault through private endpoints only')
param privateNetworking bool
@description('Address space of the virtual network')
param addressPrefix string = '10.20.0.0/24'
@description('Part of it for what the web app sends')
param appPrefix string = '10.20.0.0/26'
@description('Part of it for private endpoints')
param endpointsPrefix string = '10.20.0.64/26'

@description('Days that logs and traces are kept')
param logRetentionDays int = 30
@description('Gigabytes of logs and traces a day at most')
param logDailyQuotaGb int
@description('Log each request; alerts on error rate and latency need it')
param httpLogs bool = true
@description('Highest part of requests answered with 5xx, in percent, before somebody is told')
param maxErrorPercent int = 5
@description('Highest 95th percentile of POST /predict in milliseconds, before somebody is told')
param maxP95Milliseconds int = 500
@description('Most seconds that a record may wait for a shared store')
@minValue(60)
param maxBacklogSeconds int = 300
@allowed([300, 600, 900])
@description('Seconds between requests from outside, for each of five places')
param webTestSeconds int = 300
@description('Address that alerts are sent to')
param alertEmail string = ''
@description('Planned cost a month in the currency of the subscription; 0: no budget')
@minValue(0)
param budgetAmount int = 0
@description('First day of the first month of the budget, which cannot be changed later; empty: of this month')
param budgetStartDate string = ''
@description('First day of this month; leave it')
param thisMonth string = utcNow('yyyy-MM-01')
@description('Object ID of the identity that deploys: it may push images and read the password; empty: roles are given elsewhere')
param deployerPrincipalId string = ''

var suffix = take(uniqueString(resourceGroup().id), 8)
var name = 'relance-${environmentName}'
var uniqueName = '${name}-${suffix}'
var tags = {
  application: 'relance'
  environment: environmentName
}
var firstImage = empty(image) ? 'mcr.microsoft.com/appsvc/staticsite:latest' : image
var picturesContainer = 'uploads'
var modelsContainer = 'models'
var databaseName = 'relance'

module identity 'modules/identity.bicep' = {
  name: 'identity'
  params: {
    location: location
    name: '${name}-identity'
    tags: tags
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  params: {
    location: location
    name: name
    tags: tags
    retentionDays: logRetentionDays
    dailyQuotaGb: logDailyQuotaGb
    alertEmail: alertEmail
  }
}

module registry 'modules/registry.bicep' = {
  name: 'registry'
  params: {
    location: location
    name: replace(uniqueName, '-', '')
    tags: tags
    sku: registrySku
    principalId: identity.outputs.principalId
    deployerPrincipalId: deployerPrincipalId
    workspaceId: monitoring.outputs.workspaceId
  }
}

module storage 'modules/storage.bicep' = {
  name: 'storage'
  params: {
    location: location
    name: replace(uniqueName, '-', '')
    tags: tags
    sku: storageSku
    containerName: picturesContainer
    modelsContainerName: modelsContainer
    retentionDays: retentionDays
    coolAfterDays: 30
    softDeleteDays: softDeleteDays
    privateOnly: privateNetworking
    principalId: identity.outputs.principalId
    workspaceId: monitoring.outputs.workspaceId
  }
}

module cosmos 'modules/cosmos.bicep' = {
  name: 'cosmos'
  params: {
    location: location
    name: uniqueName
    tags: tags
    databaseName: databaseName
    serverless: cosmosServerless
    maxThroughput: cosmosMaxThroughput
    zoneRedundant: zoneRedundant
    privateOnly: privateNetworking
    principalId: identity.outputs.principalId
    workspaceId: monitoring.outputs.workspaceId
  }
}

module redis 'modules/redis.bicep' = if (!empty(redisSku)) {
  name: 'redis'
  params: {
    location: location
    name: uniqueName
    tags: tags
    sku: redisSku
    highAvailability: redisHighAvailability
    privateOnly: privateNetworking
    principalId: identity.outputs.principalId
    workspaceId: monitoring.outputs.workspaceId
  }
}

module vault 'modules/vault.bicep' = {
  name: 'vault'
  params: {
    location: location
    name: uniqueName
    tags: tags
    apiPassword: apiPassword
    apiKeys: apiKeys
    insightsName: monitoring.outputs.insightsName
    softDeleteDays: vaultSoftDeleteDays
    privateOnly: privateNetworking
    principalId: identity.outputs.principalId
    deployerPrincipalId: deployerPrincipalId
    workspaceId: monitoring.outputs.workspaceId
  }
}

module network 'modules/network.bicep' = if (privateNetworking) {
  name: 'network'
  params: {
    location: location
    name: name
    tags: tags
    addressPrefix: addressPrefix
    appPrefix: appPrefix
    endpointsPrefix: endpointsPrefix
  }
}

module blobEndpoint 'modules/endpoint.bicep' = if (privateNetworking) {
  name: 'blob-endpoint'
  params: {
    location: location
    name: '${name}-blob'
    tags: tags
    subnetId: network!.outputs.endpointSubnetId
    targetId: storage.outputs.id
    groupId: 'blob'
    zoneName: network!.outputs.blobZone
  }
}

module cosmosEndpoint 'modules/endpoint.bicep' = if (privateNetworking) {
  name: 'cosmos-endpoint'
  params: {
    location: location
    name: '${name}-cosmos'
    tags: tags
    subnetId: network!.outputs.endpointSubnetId
    targetId: cosmos.outputs.id
    groupId: 'Sql'
    zoneName: network!.outputs.cosmosZone
  }
}

module redisEndpoint 'modules/endpoint.bicep' = if (privateNetworking && !empty(redisSku)) {
  name: 'redis-endpoint'
  params: {
    location: location
    name: '${name}-redis'
    tags: tags
    subnetId: network!.outputs.endpointSubnetId
    targetId: redis!.outputs.id
    groupId: 'redisEnterprise'
    zoneName: network!.outputs.redisZone
  }
}

module vaultEndpoint 'modules/endpoint.bicep' = if (privateNetworking) {
  name: 'vault-endpoint'
  params: {
    location: location
    name: '${name}-vault'
    tags: tags
    subnetId: network!.outputs.endpointSubnetId
    targetId: vault.outputs.id
    groupId: 'vault'
    zoneName: network!.outputs.vaultZone
  }
}

// Of the service. What is not here has the default that README.md gives.
var serviceSettings = {
  HOST: '0.0.0.0'
  PORT: '5000'
  // One front end of App Service stands before the container.
  TRUSTED_PROXIES: '1'
  LOG_FORMAT: 'json'
  API_USERNAME: apiUsername
  API_PASSWORD: '@Microsoft.KeyVault(VaultName=${vault.outputs.name};SecretName=api-password)'
  USER_IP: userIp
  RETENTION_DAYS: string(retentionDays)
  // The disk of the container: docs/azure.md says why not /home, and what that means.
  DATA_DIR: '/data'
  SPOOL_MAX_BYTES: '4294967296'
  // Together 90 s, less than App Service waits before it kills.
  DRAIN_DELAY_MS: '10000'
  SHUTDOWN_TIMEOUT_MS: '20000'
  FLUSH_TIMEOUT_MS: '60000'
  AZURE_CREDENTIAL: 'managed-identity'
  AZURE_CLIENT_ID: identity.outputs.clientId
  AZURE_STORAGE_BLOB_ENDPOINT: storage.outputs.blobEndpoint
  AZURE_STORAGE_CONTAINER: picturesContainer
  MODELS: 'blob:${modelsContainer}'
  AZURE_COSMOS_ENDPOINT: cosmos.outputs.endpoint
  AZURE_COSMOS_DATABASE: databaseName
  AZURE_COSMOS_CONTAINER: cosmos.outputs.containerName
  AZURE_COSMOS_REGION: location
  APPLICATIONINSIGHTS_CONNECTION_STRING: '@Microsoft.KeyVault(VaultName=${vault.outputs.name};SecretName=applicationinsights-connection-string)'
  TRACE_SAMPLE_RATIO: traceSampleRatio
}
var redisSettings = empty(redisSku) ? {} : {
  REDIS_URL: redis!.outputs.url
  REDIS_AUTH: 'entra'
}
var keySettings = apiKeysInVault || !empty(apiKeys) ? {
  API_KEYS: '@Microsoft.KeyVault(VaultName=${vault.outputs.name};SecretName=api-keys)'
} : {}

// Of App Service itself.
var platformSettings = {
  WEBSITES_PORT: '5000'
  // No share mounted at /home.
  WEBSITES_ENABLE_APP_SERVICE_STORAGE: 'false'
  WEBSITES_CONTAINER_START_TIME_LIMIT: '120'
  WEBSITES_CONTAINER_STOP_TIME_LIMIT: '120'
  // A container gets requests, and a slot is swapped, once this answers 200. Without the statuses, any would do.
  WEBSITE_WARMUP_PATH: '/health/ready'
  WEBSITE_WARMUP_STATUSES: '200'
  WEBSITE_SWAP_WARMUP_PING_PATH: '/health/ready'
  WEBSITE_SWAP_WARMUP_PING_STATUSES: '200'
  WEBSITE_HEALTHCHECK_MAXPINGFAILURES: '5'
}

module app 'modules/app.bicep' = {
  name: 'app'
  params: {
    location: location
    name: uniqueName
    tags: tags
    planSku: planSku
    instances: instances > minInstances ? instances : minInstances
    zoneRedundant: zoneRedundant
    identity: {
      id: identity.outputs.id
      clientId: identity.outputs.clientId
    }
    image: firstImage
    stagingImage: empty(stagingImage) ? firstImage : stagingImage
    settings: union(serviceSettings, redisSettings, keySettings, platformSettings)
    subnetId: privateNetworking ? network!.outputs.appSubnetId : ''
    workspaceId: monitoring.outputs.workspaceId
    httpLogs: httpLogs
  }
  dependsOn: [
    vaultEndpoint
  ]
}

module autoscale 'modules/autoscale.bicep' = {
  name: 'autoscale'
  params: {
    location: location
    name: '${name}-autoscale'
    tags: tags
    planId: app.outputs.planId
    minInstances: minInstances
    maxInstances: maxInstances
    scaleOutBy: scaleOutBy
    schedules: schedules
    alertEmail: alertEmail
    workspaceId: monitoring.outputs.workspaceId
  }
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  params: {
    location: location
    name: name
    tags: tags
    planId: app.outputs.planId
    siteId: app.outputs.siteId
    hostName: app.outputs.hostName
    insightsId: monitoring.outputs.insightsId
    workspaceId: monitoring.outputs.workspaceId
    actionGroupId: monitoring.outputs.actionGroupId
    maxP95Milliseconds: maxP95Milliseconds
    maxBacklogSeconds: maxBacklogSeconds
    maxErrorPercent: maxErrorPercent
    webTestSeconds: webTestSeconds
    httpLogs: httpLogs
  }
}

module budget 'modules/budget.bicep' = if (budgetAmount > 0) {
  name: 'budget'
  params: {
    name: '${name}-budget'
    amount: budgetAmount
    startDate: empty(budgetStartDate) ? thisMonth : budgetStartDate
    actionGroupId: monitoring.outputs.actionGroupId
  }
}

output webAppName string = app.outputs.siteName
output hostName string = app.outputs.hostName
output stagingHostName string = app.outputs.stagingHostName
output registryServer string = registry.outputs.loginServer
output vaultName string = vault.outputs.name
