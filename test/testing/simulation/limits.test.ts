import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const PLAY = fileURLToPath(new URL('limits-play.ts', import.meta.url))
const TIMEOUT_MS = 120_000

it('the simulator plays services on postgresTransport, and ends transactions in the time of the world', {
  timeout: TIMEOUT_MS,
}, async () => {
  const options = { timeout: TIMEOUT_MS - 20_000, killSignal: 'SIGKILL' } as const
  const { stdout } = await promisify(execFile)(process.execPath, ['--conditions=concordat-source', PLAY], options)
  expect(JSON.parse(stdout)).toEqual([
    'clerk-1: SET LOCAL idle_in_transaction_session_timeout = 500: 4000 ms',
    'clerk-1: SET LOCAL transaction_timeout = 0: 4000 ms',
    'clerk-1: SET LOCAL transaction_timeout = 1500: 1250 ms',
    'clerk-1: limits of 700 ms',
    "clerk-1: set transaction_timeout to '2 s': 1750 ms",
    'shop: ends the idle transaction of shop',
    'shop: ends the long transaction of clerk',
  ])
})
