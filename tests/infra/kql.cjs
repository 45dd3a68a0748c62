// Checks queries with Microsoft's own parser, against the columns that the tables have in Log Analytics.
// usage: node kql.cjs FOLDER < [{"name": ..., "query": ...}]    FOLDER: @kusto/language-service-next
// Prints a JSON array with one sentence for each fault.
'use strict'
const fs = require('fs')
const path = require('path')
const vm = require('vm')

for (const file of ['bridge.min.js', 'Kusto.Language.Bridge.min.js']) {
  vm.runInThisContext(fs.readFileSync(path.join(process.argv[2], file), 'utf8'), { filename: file })
}
const Language = globalThis.Kusto.Language

// The columns that are used here, of the tables' public reference.
const tables = {
  AppServiceHTTPLogs:
    'TimeGenerated: datetime, CsMethod: string, CsUriStem: string, ScStatus: int, TimeTaken: int, ComputerName: string, _ResourceId: string',
  AppServiceConsoleLogs: 'TimeGenerated: datetime, ResultDescription: string, ContainerId: string, Host: string, _ResourceId: string',
  AzureMetrics:
    'TimeGenerated: datetime, MetricName: string, Average: real, Maximum: real, Total: real, Count: real, ResourceProvider: string, _ResourceId: string',
  AppRequests:
    'TimeGenerated: datetime, Name: string, DurationMs: real, Success: bool, ResultCode: string, ItemCount: int, Properties: dynamic',
  AppDependencies: 'TimeGenerated: datetime, Name: string, DurationMs: real, Success: bool, ItemCount: int, Properties: dynamic',
  AppAvailabilityResults: 'TimeGenerated: datetime, Name: string, Success: bool, Location: string, DurationMs: real',
  AutoscaleEvaluationsLog: 'TimeGenerated: datetime, OperationName: string, CurrentInstanceCount: string, _ResourceId: string'
}
const symbols = Object.entries(tables).map(
  ([name, columns]) => new Language.Symbols.TableSymbol.$ctor7(name, `(${columns})`, null)
)
const database = new Language.Symbols.DatabaseSymbol.$ctor1('workspace', symbols)
const globals = Language.GlobalState.Default.WithDatabase(database)

const faults = []
for (const { name, query } of JSON.parse(fs.readFileSync(0, 'utf8'))) {
  const code = Language.KustoCode.ParseAndAnalyze(query, globals)
  const found = code.GetDiagnostics()
  for (let i = 0; i < found.Count; i++) {
    faults.push(`${name}: ${found.getItem(i).Message}`)
  }
}
console.log(JSON.stringify(faults))
