using 'main.bicep'

// Two zones, private stores, a replica of Redis. docs/azure.md tells the cost.
param environmentName = 'prod'
param planSku = 'P1v3'
param minInstances = 2
param maxInstances = 10
param zoneRedundant = true
param retentionDays = 90
param redisSku = 'Balanced_B1'
param redisHighAvailability = true
param cosmosServerless = false
param cosmosMaxThroughput = 4000
param storageSku = 'Standard_ZRS'
param registrySku = 'Standard'
param vaultSoftDeleteDays = 90
param privateNetworking = true
param logRetentionDays = 90
param logDailyQuotaGb = 5
param budgetAmount = 900

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
