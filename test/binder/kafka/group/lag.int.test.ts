import { once } from 'node:events'
import { createBinder, defineChannel, sink } from 'concordat/binder'
import { it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { startJava } from '../../../support/java.ts'
import { kafkaOn } from '../../../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../../../support/servers/index.ts'
import { until } from '../../../support/until.ts'
import { attached, freshTopic, numbered } from '../kit.ts'

const url = (): string => serverUrl('kafka') as string

describeWith(['kafka'], 'lag on Kafka', () => {
  it('counts messages behind an open transaction, reports that the group waits, and is 0 behind an aborted tail', async ({
    expect,
  }) => {
    const setup = attached(url())
    const name = await freshTopic(setup, 1)
    await setup.publish(numbered(name, 3, ['k']))
    const handled: unknown[] = []
    const binder = createBinder({
      service: 'lag',
      transport: kafkaOn(url()),
      bindings: [
        sink(defineChannel(name, { payload: z.unknown(), partitions: 1 }), { group: 'g' }, (n) => void handled.push(n)),
      ],
    })
    onTestFinished(() => binder.close())
    await binder.start()
    await until('the first are handled', () => handled.length === 3)
    await until('nothing is left', async () => (await binder.lag(`${name}.g`)) === 0)
    const java = await startJava('Transactions', [url(), name, '1', '0', '64', 'hold'])
    onTestFinished(() => void java.kill('SIGKILL'))
    await once(java.stdout, 'data')
    await setup.publish(numbered(name, 4, ['k'], 3))
    expect(await binder.lag(`${name}.g`)).toBe(5)
    const status = (): ReturnType<typeof binder.bindings>[number] | undefined => binder.bindings()[0]
    await until('it is said', () => status()?.error !== undefined)
    expect(status()?.error).toMatch(/partition 0 of .* at offset 3 waits behind a transaction of another producer/)
    expect(status()?.state).toBe('running')
    expect(binder.health().status).toBe('up')
    java.stdin.end('\n')
    await until('the others are handled', () => handled.length === 7)
    await until('it waits no more', () => status()?.error === undefined)
    // The abort marker comes after all of them.
    await until('nothing is left', async () => (await binder.lag(`${name}.g`)) === 0)
    expect(handled).toEqual([0, 1, 2, 3, 4, 5, 6])
  })
})
