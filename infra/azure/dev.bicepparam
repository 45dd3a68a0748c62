using 'main.bicep'

// One small instance, for trying things out: no zones, no private network, no Redis. docs/azure.md tells the cost.
param environmentName = 'dev'
param planSku = 'P0v3'
param minInstances = 1
param maxInstances = 2
param scaleOutBy = 1
param zoneRedundant = false
param retentionDays = 30
param redisSku = ''
param cosmosServerless = true
param storageSku = 'Standard_LRS'
param privateNetworking = false
param logDailyQuotaGb = 1
param webTestSeconds = 900
param traceSampleRatio = '1'
param budgetAmount = 120

// From the environment; deploy.sh sets what whoever deploys does not.
param image = readEnvironmentVariable('RELANCE_IMAGE', '')
param stagingImage = readEnvironmentVariable('RELANCE_STAGING_IMAGE', '')
param instances = int(readEnvironmentVariable('RELANCE_INSTANCES', '0'))
param apiPassword = readEnvironmentVariable('API_PASSWORD', '')
param apiKeys = readEnvironmentVariable('API_KEYS', '')
param apiKeysInVault = bool(readEnvironmentVariable('API_KEYS_IN_VAULT', 'false'))
param alertEmail = readEnvironmentVariable('ALERT_EMAIL', '')
param budgetStartDate = readEnvironmentVariable('BUDGET_START_DATE', '')
param deployerPrincipalId = readEnvironmentVariable('DEPLOYER_PRINCIPAL_ID', '')
