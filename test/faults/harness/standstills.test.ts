import { expect, it } from 'vitest'
import { standstillRows } from './standstills.ts'

it('the table of standstills reports the minimum, median and maximum interruption for each fault and part', () => {
  const reports = [
    { fault: 'kill', standstillsMs: { messages: 300, locks: 10 } },
    { fault: 'kill', standstillsMs: { messages: 100 } },
    { fault: 'none' },
    { fault: 'kill', standstillsMs: { messages: 200.4 } },
  ]
  expect(standstillRows(reports)).toEqual([
    ['kill', 'messages', '3', '100', '200', '300'],
    ['kill', 'locks', '1', '10', '10', '10'],
  ])
})
