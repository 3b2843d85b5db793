import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createBinder, defineChannel, redrive, sink } from 'concordat/binder'
import { rabbitTransport } from 'concordat/binder/rabbitmq'
import type { Transport } from 'concordat/extension'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { kafkaOn } from '../../support/kafka-driver.ts'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

const LETTERS = 20

/**
 * Program that redrives every other dead letter, and dies by SIGKILL after the seventh, between its confirm and its
 * settlement or after.
 */
const VICTIM = (transport: string, name: string) => `
import { defineChannel, redrive } from 'concordat/binder'
import { z } from 'zod'
${transport}
const channel = defineChannel('${name}', { payload: z.number(), key: String })
let done = 0
await redrive({ service: 'victim', transport }, channel, 'g', {
  filter: ({ key }) => Number(key) % 2 === 0,
  perSecond: 10_000,
  onProgress: () => { if (++done === 7) process.kill(process.pid, 'SIGKILL') },
})
`

const openers: Record<'rabbitmq' | 'kafka', { open: (url: string) => Transport; source: (url: string) => string }> = {
  rabbitmq: {
    open: (url) => rabbitTransport({ url }),
    source: (url) => `import { rabbitTransport } from 'concordat/binder/rabbitmq'
const transport = rabbitTransport({ url: '${url}' })`,
  },
  kafka: {
    open: (url) => kafkaOn(url),
    source: (url) => `import { kafkaOn } from '${new URL('../../support/kafka-driver.ts', import.meta.url).href}'
const transport = kafkaOn('${url}')`,
  },
}

for (const kind of ['rabbitmq', 'kafka'] as const) {
  describeWith([kind], `redrive on ${kind}`, () => {
    it('loses no dead letter when it is killed in the middle, and the next run completes it', async () => {
      const url = serverUrl(kind) ?? ''
      const { open, source } = openers[kind]
      const channel = defineChannel(`rk-${randomUUID().slice(0, 8)}`, {
        payload: z.number(),
        key: String,
        groups: ['g'],
      })
      let broken = true
      const handled: number[] = []
      const binding = sink(channel, { group: 'g', maxAttempts: 1 }, (n) => {
        if (broken) throw new Error('not yet')
        handled.push(n)
      })
      const binder = createBinder({ service: 'shop', transport: open(url), bindings: [binding] })
      onTestFinished(() => binder.close())
      await binder.start()
      await binder.ready({ timeoutMs: 60_000 })
      await binder.sendBatch(
        channel,
        Array.from({ length: LETTERS }, (_, n) => n),
      )
      const status = () => binder.binding(`${channel.name}.g`).status()
      await until('all are dead letters', () => status().deadLettered === LETTERS)
      broken = false

      const args = ['--conditions=concordat-source', '--input-type=module', '-e', VICTIM(source(url), channel.name)]
      const victim = spawn(process.execPath, args, { stdio: 'ignore' })
      await once(victim, 'exit')
      expect(victim.signalCode).toBe('SIGKILL')

      const report = await redrive({ service: 'operator', transport: open(url) }, channel, 'g', { perSecond: 10_000 })
      expect(report).toMatchObject({ kept: 0, complete: true })
      await until('each letter was handled', () => new Set(handled).size === LETTERS)
      const again = await redrive({ service: 'operator', transport: open(url) }, channel, 'g')
      expect(again).toMatchObject({ sent: 0, kept: 0, copies: 0, complete: true })
    })
  })
}
