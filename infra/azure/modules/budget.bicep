// A mail when the month becomes dearer than planned. It stops nothing.
@description('Name of the budget')
param name string
@description('Amount a month, in the currency of the subscription')
@minValue(1)
param amount int
@description('First day of the first month, as 2026-12-01; cannot be changed later')
param startDate string
@description('Who is told, besides the owners of the resource group')
param actionGroupId string

resource budget 'Microsoft.Consumption/budgets@2023-11-01' = {
  name: name
  properties: {
    category: 'Cost'
    amount: amount
    timeGrain: 'Monthly'
    timePeriod: {
      startDate: startDate
    }
    notifications: {
      actual80: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 80
        thresholdType: 'Actual'
        contactEmails: []
        contactRoles: [
          'Owner'
        ]
        contactGroups: [
          actionGroupId
        ]
      }
      forecast100: {
        enabled: true
        operator: 'GreaterThan'
        threshold: 100
        thresholdType: 'Forecasted'
        contactEmails: []
        contactRoles: [
          'Owner'
        ]
        contactGroups: [
          actionGroupId
        ]
      }
    }
  }
}
