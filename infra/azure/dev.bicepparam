using 'main.bicep'

// One small instance, for trying things out: no zones, no private network, no Redis. docs/azure.md tells the cost.
param environmentName = 'dev'
param planSku = 'P0v3'
param minInstances = 1
param maxInstances = 2
param zoneRedundant = false
param retentionDays = 30
param redisSku = ''
param cosmosServerless = true
param storageSku = 'Standard_LRS'
param privateNetworking = false
param logDailyQuotaGb = 1
param traceSampleRatio = '1'
param budgetAmount = 120

// From the environment of whoever deploys; deploy.sh sets what is missing.
param apiPassword = readEnvironmentVariable('API_PASSWORD', '')
param apiKeys = readEnvironmentVariable('API_KEYS', '')
param alertEmail = readEnvironmentVariable('ALERT_EMAIL', '')
param deployerPrincipalId = readEnvironmentVariable('DEPLOYER_PRINCIPAL_ID', '')
