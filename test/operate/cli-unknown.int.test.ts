/** The command line in a database without a log, where the groups are unknown. */
import { expect, onTestFinished, test } from 'vitest'
import { createDatabase } from '../outbox/support/postgres.ts'
import { describeWith } from '../support/servers/index.ts'
import { ranHere } from './support/cli.ts'

describeWith(['postgres'], 'npx concordat on a database without a log', () => {
  async function place(): Promise<readonly string[]> {
    const empty = await createDatabase()
    onTestFinished(() => empty.drop())
    return ['--postgres', empty.url]
  }

  test.for([
    ['dlq', 'list', 'a', 'b'],
    ['bus', 'members'],
  ])('refuses %j and says which option names the broker', async (args, { expect: its }) => {
    const { code, stderr } = await ranHere([...args, ...(await place())], {})
    its(code).toBe(1)
    its(stderr).toContain('Here: --kafka HOST:PORT, or --rabbitmq URL')
  })

  test('says that lag is unknown, with exit code 1', async () => {
    const { code, stdout } = await ranHere(['lag', ...(await place())], {})
    expect({ code, stdout }).toEqual({ code: 1, stdout: expect.stringMatching(/^unknown: /) })
  })
})
