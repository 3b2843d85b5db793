import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { promisify } from 'node:util'
import { it } from 'vitest'
import { describeWith, serverUrl } from '../support/servers/index.ts'
import { expectedOutput } from './support/numbered.ts'

const run = promisify(execFile)
const FILE = 'examples/07-kafka.ts'

describeWith(['kafka'], 'the numbered example on Kafka', () => {
  it('prints its documented output', async ({ expect }) => {
    const env = { ...process.env, KAFKA_BROKERS: serverUrl('kafka'), PREFIX: `example-${randomUUID()}` }
    const flags = ['--disable-warning=TimeoutNegativeWarning', '--conditions=concordat-source']
    const { stdout } = await run(process.execPath, [...flags, FILE], { env })
    expect(stdout).toBe(expectedOutput(FILE))
  })
})
