// Instances follow the load: more when the CPU is busy or requests wait, fewer when it is idle.
@description('Azure region')
param location string
@description('Name of the autoscale setting')
param name string
@description('Tags of every resource')
param tags object
@description('App Service plan')
param planId string
@description('Fewest instances')
@minValue(1)
param minInstances int
@description('Most instances')
@minValue(1)
param maxInstances int
@description('Instances that are added at once: what the load may jump by')
@minValue(1)
param scaleOutBy int
@description('Times with other bounds: objects with name, minInstances, maxInstances, timeZone, days, startHour and endHour')
param schedules array
@description('Address that is told of every change; empty: nobody')
param alertEmail string
@description('Log Analytics workspace')
param workspaceId string

// Any rule that fires adds instances; all rules that remove must fire together, so there is one. The cool-down after
// adding is longer than the window, or the rule would decide again on minutes from before. Should removing an instance
// lift the others above 70 %, autoscale leaves it.
var rules = [
  {
    metricTrigger: {
      metricName: 'CpuPercentage'
      metricResourceUri: planId
      timeGrain: 'PT1M'
      statistic: 'Average'
      timeWindow: 'PT5M'
      timeAggregation: 'Average'
      operator: 'GreaterThan'
      threshold: 70
    }
    scaleAction: {
      direction: 'Increase'
      type: 'ChangeCount'
      value: string(scaleOutBy)
      cooldown: 'PT6M'
    }
  }
  {
    metricTrigger: {
      metricName: 'HttpQueueLength'
      metricResourceUri: planId
      timeGrain: 'PT1M'
      statistic: 'Average'
      timeWindow: 'PT5M'
      timeAggregation: 'Average'
      operator: 'GreaterThan'
      threshold: 10
    }
    scaleAction: {
      direction: 'Increase'
      type: 'ChangeCount'
      value: string(scaleOutBy)
      cooldown: 'PT6M'
    }
  }
  {
    metricTrigger: {
      metricName: 'CpuPercentage'
      metricResourceUri: planId
      timeGrain: 'PT1M'
      statistic: 'Average'
      timeWindow: 'PT5M'
      timeAggregation: 'Average'
      operator: 'LessThan'
      threshold: 40
    }
    scaleAction: {
      direction: 'Decrease'
      type: 'ChangeCount'
      value: '1'
      cooldown: 'PT5M'
    }
  }
]

var always = [
  {
    name: 'always'
    capacity: {
      minimum: string(minInstances)
      maximum: string(maxInstances)
      default: string(minInstances)
    }
    rules: rules
  }
]

var begins = [for schedule in schedules: {
  name: schedule.name
  capacity: {
    minimum: string(schedule.minInstances)
    maximum: string(schedule.maxInstances)
    default: string(schedule.minInstances)
  }
  rules: rules
  recurrence: {
    frequency: 'Week'
    schedule: {
      timeZone: schedule.timeZone
      days: schedule.days
      hours: [
        schedule.startHour
      ]
      minutes: [
        0
      ]
    }
  }
}]

// A recurring profile knows only its beginning. Its end is another one, which Azure recognises by a name of this form.
var ends = [for schedule in schedules: {
  name: '{"name":"always","for":"${schedule.name}"}'
  capacity: {
    minimum: string(minInstances)
    maximum: string(maxInstances)
    default: string(minInstances)
  }
  rules: rules
  recurrence: {
    frequency: 'Week'
    schedule: {
      timeZone: schedule.timeZone
      days: schedule.days
      hours: [
        schedule.endHour
      ]
      minutes: [
        0
      ]
    }
  }
}]

resource autoscale 'Microsoft.Insights/autoscalesettings@2022-10-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    enabled: true
    targetResourceUri: planId
    profiles: concat(always, begins, ends)
    notifications: empty(alertEmail) ? [] : [
      {
        operation: 'Scale'
        email: {
          customEmails: [
            alertEmail
          ]
        }
      }
    ]
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'to-workspace'
  scope: autoscale
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        categoryGroup: 'allLogs'
        enabled: true
      }
    ]
  }
}
