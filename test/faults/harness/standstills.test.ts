import { expect, it } from 'vitest'
import { standstillRows } from './standstills.ts'

it('tells for each fault and part how long it stood still at least, mostly and at most', () => {
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
