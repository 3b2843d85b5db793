import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import { it } from 'vitest'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { attached } from './kit.ts'

const url = (): string => serverUrl('kafka') as string

describeWith(['kafka'], 'closing a transport on Kafka', () => {
  it('leaves no connection behind during administrative requests', async ({ expect }) => {
    const sockets: Socket[] = []
    const onSocket = (socket: Socket): void => void sockets.push(socket)
    const destination = `kc-${randomUUID().slice(0, 8)}`
    const place = { destination, partitions: 1, group: 'g' }
    for (let i = 0; i < 10; i++) {
      const transport = attached(url(), {}, undefined, { onSocket })
      await transport.provision([{ name: destination, partitions: 1, groups: ['g'] }])
      const asked = Promise.allSettled([transport.lag?.(place), transport.lag?.(place)])
      await transport.close()
      await asked
    }
    expect(sockets.length).toBeGreaterThanOrEqual(10)
    await until('no socket is open', () => sockets.every(({ destroyed }) => destroyed))
  })
})
