// What somebody should look at, and requests from outside.
@description('Azure region')
param location string
@description('Prefix of the resource names')
param name string
@description('Tags of every resource')
param tags object
@description('App Service plan')
param planId string
@description('Web app')
param siteId string
@description('Host name that is asked from outside')
param hostName string
@description('Application Insights')
param insightsId string
@description('Log Analytics workspace')
param workspaceId string
@description('Who is told')
param actionGroupId string
@description('Highest 95th percentile of the response time of POST /predict, in milliseconds')
param maxP95Milliseconds int
@description('Highest part of requests answered with 5xx, in percent')
param maxErrorPercent int
@description('Most seconds that a record may wait for a shared store')
param maxBacklogSeconds int
@allowed([300, 600, 900])
@description('Seconds between requests from outside, for each of the five places')
param webTestSeconds int
@description('Requests are logged; without it, the alerts on error rate and latency are left out')
param httpLogs bool

var regions = [
  'emea-nl-ams-azr'
  'emea-gb-db3-azr'
  'us-va-ash-azr'
  'us-ca-sjc-azr'
  'apac-sg-sin-azr'
]

var errorRate = '''
AppServiceHTTPLogs
| where CsUriStem !startswith "/health"
| summarize requests = count(), failed = countif(ScStatus >= 500)
| where requests >= 20
| project percent = 100.0 * failed / requests
'''

var latency = '''
AppServiceHTTPLogs
| where CsMethod == "POST" and CsUriStem == "/predict" and ScStatus < 400
| summarize requests = count(), p95 = percentile(TimeTaken, 95)
| where requests >= 20
| project p95
'''

// The service writes one line when a store goes and one when it is back.
var storeAway = '''
AppServiceConsoleLogs
| where ResultDescription has "is not there" or ResultDescription has "will not be taken"
| project TimeGenerated, ResultDescription
'''

// It writes another, once a minute, while the oldest record waits for longer than a minute.
var oldestWaits = '''
AppServiceConsoleLogs
| where ResultDescription has "records wait for the shared stores"
| extend seconds = toint(extract("backlog_age_seconds[^0-9]+([0-9]+)", 1, ResultDescription))
| where isnotnull(seconds)
| project TimeGenerated, seconds
'''

// And another, once a minute, while the answers are not those of the model's evaluation.
var answersDrift = '''
AppServiceConsoleLogs
| where ResultDescription has "answers drift from the baseline of the model"
| project TimeGenerated, ResultDescription
'''

resource errors 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = if (httpLogs) {
  name: '${name}-error-rate'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: '${name}: more than ${maxErrorPercent} % of requests fail'
    severity: 1
    enabled: true
    scopes: [
      workspaceId
    ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT5M'
    criteria: {
      allOf: [
        {
          query: errorRate
          metricMeasureColumn: 'percent'
          timeAggregation: 'Maximum'
          operator: 'GreaterThan'
          threshold: maxErrorPercent
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    // A new workspace may not know the tables yet.
    skipQueryValidation: true
    actions: {
      actionGroups: [
        actionGroupId
      ]
    }
  }
}

resource slow 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = if (httpLogs) {
  name: '${name}-latency'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: '${name}: 95th percentile of POST /predict above ${maxP95Milliseconds} ms'
    severity: 2
    enabled: true
    scopes: [
      workspaceId
    ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      allOf: [
        {
          query: latency
          metricMeasureColumn: 'p95'
          timeAggregation: 'Maximum'
          operator: 'GreaterThan'
          threshold: maxP95Milliseconds
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    // A new workspace may not know the tables yet.
    skipQueryValidation: true
    actions: {
      actionGroups: [
        actionGroupId
      ]
    }
  }
}

resource store 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: '${name}-store-away'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: '${name}: a shared store is away or refuses what it is sent'
    severity: 2
    enabled: true
    scopes: [
      workspaceId
    ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      allOf: [
        {
          query: storeAway
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    // A new workspace may not know the tables yet.
    skipQueryValidation: true
    actions: {
      actionGroups: [
        actionGroupId
      ]
    }
  }
}

resource backlog 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: '${name}-backlog'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: '${name}: the oldest record has waited for more than ${maxBacklogSeconds} s'
    severity: 2
    enabled: true
    scopes: [
      workspaceId
    ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT5M'
    criteria: {
      allOf: [
        {
          query: oldestWaits
          metricMeasureColumn: 'seconds'
          timeAggregation: 'Maximum'
          operator: 'GreaterThan'
          threshold: maxBacklogSeconds
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    // A new workspace may not know the tables yet.
    skipQueryValidation: true
    actions: {
      actionGroups: [
        actionGroupId
      ]
    }
  }
}

resource drift 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {
  name: '${name}-drift'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: '${name}: for half an hour, the answers have not been those of the evaluation of the model'
    severity: 3
    enabled: true
    scopes: [
      workspaceId
    ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT5M'
    criteria: {
      allOf: [
        {
          query: answersDrift
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 6
            minFailingPeriodsToAlert: 6
          }
        }
      ]
    }
    autoMitigate: true
    // A new workspace may not know the tables yet.
    skipQueryValidation: true
    actions: {
      actionGroups: [
        actionGroupId
      ]
    }
  }
}

resource http5xx 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: '${name}-5xx'
  location: 'global'
  tags: tags
  properties: {
    description: 'Many 5xx, counted by App Service; also what never reached the service'
    severity: 1
    enabled: true
    scopes: [
      siteId
    ]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT5M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: '5xx'
          metricNamespace: 'Microsoft.Web/sites'
          metricName: 'Http5xx'
          timeAggregation: 'Total'
          operator: 'GreaterThan'
          threshold: 50
        }
      ]
    }
    actions: [
      {
        actionGroupId: actionGroupId
      }
    ]
  }
}

resource health 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: '${name}-health'
  location: 'global'
  tags: tags
  properties: {
    description: 'Instances whose /health/ready does not answer 200'
    severity: 1
    enabled: true
    scopes: [
      siteId
    ]
    evaluationFrequency: 'PT1M'
    windowSize: 'PT5M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'health'
          metricNamespace: 'Microsoft.Web/sites'
          metricName: 'HealthCheckStatus'
          timeAggregation: 'Average'
          operator: 'LessThan'
          threshold: 100
        }
      ]
    }
    actions: [
      {
        actionGroupId: actionGroupId
      }
    ]
  }
}

resource busy 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: '${name}-cpu'
  location: 'global'
  tags: tags
  properties: {
    description: 'CPU above 85 % for a quarter of an hour: autoscale is at its maximum or too slow'
    severity: 2
    enabled: true
    scopes: [
      planId
    ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'cpu'
          metricNamespace: 'Microsoft.Web/serverfarms'
          metricName: 'CpuPercentage'
          timeAggregation: 'Average'
          operator: 'GreaterThan'
          threshold: 85
        }
      ]
    }
    actions: [
      {
        actionGroupId: actionGroupId
      }
    ]
  }
}

resource webTest 'Microsoft.Insights/webtests@2022-06-15' = {
  name: '${name}-ready'
  location: location
  tags: union(tags, {
    'hidden-link:${insightsId}': 'Resource'
  })
  kind: 'standard'
  properties: {
    SyntheticMonitorId: '${name}-ready'
    Name: '${name} is ready'
    Enabled: true
    Frequency: webTestSeconds
    Timeout: 30
    Kind: 'standard'
    RetryEnabled: true
    Locations: [for region in regions: {
      Id: region
    }]
    Request: {
      RequestUrl: 'https://${hostName}/health/ready'
      HttpVerb: 'GET'
      ParseDependentRequests: false
    }
    ValidationRules: {
      ExpectedHttpStatusCode: 200
      SSLCheck: true
      SSLCertRemainingLifetimeCheck: 7
      ContentValidation: {
        ContentMatch: '"status":"ready"'
        PassIfTextFound: true
        IgnoreCase: false
      }
    }
  }
}

resource unavailable 'Microsoft.Insights/metricAlerts@2018-03-01' = {
  name: '${name}-unavailable'
  location: 'global'
  tags: union(tags, {
    'hidden-link:${insightsId}': 'Resource'
    'hidden-link:${webTest.id}': 'Resource'
  })
  properties: {
    description: 'Not ready, as seen from two places or more'
    severity: 0
    enabled: true
    scopes: [
      webTest.id
      insightsId
    ]
    evaluationFrequency: 'PT1M'
    // Each place has answered in it.
    windowSize: webTestSeconds > 300 ? 'PT15M' : 'PT5M'
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria'
      webTestId: webTest.id
      componentId: insightsId
      failedLocationCount: 2
    }
    actions: [
      {
        actionGroupId: actionGroupId
      }
    ]
  }
}
