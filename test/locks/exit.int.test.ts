import { type ChildProcess, fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import type { Locks } from 'concordat/locks'
import { redisLocks } from 'concordat/redis'
import { Redis } from 'ioredis'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { describeWith, serverUrl } from '../support/servers/index.ts'
import { until } from '../support/until.ts'

describeWith(['redis'], 'a process with no other work', () => {
  let prefix: string
  let locks: Locks
  const children: ChildProcess[] = []
  beforeEach(() => {
    prefix = `test-${randomUUID()}:`
    locks = redisLocks({ url: serverUrl('redis') as string, prefix })
  })
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL')
    await locks.close()
    const client = new Redis(serverUrl('redis') as string)
    const keys = await client.keys(`${prefix}*`)
    if (keys.length > 0) await client.del(keys)
    client.disconnect()
  })

  function start(what: 'hold' | 'release' | 'wait') {
    const script = fileURLToPath(new URL('../support/locks/exits.ts', import.meta.url))
    const args = [serverUrl('redis') as string, prefix, what]
    const child = fork(script, args, { execArgv: ['--conditions=concordat-source'], silent: true })
    // The channel between fork and us would keep it alive.
    child.disconnect()
    children.push(child)
    const said: string[] = []
    for (const output of [child.stdout, child.stderr]) {
      output?.on('data', (text: Buffer) => said.push(...text.toString().trim().split('\n')))
    }
    const ended = () => until('it has ended', () => said.some((line) => line.startsWith('exit')))
    return { child, said, ended }
  }

  it('ends although it holds a lock, which is free after its ttl', async () => {
    const { said, ended } = start('hold')
    await ended()
    expect(said).toEqual(['held', 'exit 0'])
    expect(await locks.inspect('k')).toMatchObject({ holders: [{ mode: 'exclusive' }] })
    await (await locks.acquire('k')).release()
  })

  it('does not end while it waits for the answer to a release', async () => {
    const { said, ended } = start('release')
    await ended()
    expect(said).toEqual(['released', 'exit 0'])
  })

  it('does not end while it waits for a lock', async () => {
    const lease = await locks.acquire('k')
    const { child, said, ended } = start('wait')
    await until('it is in line', async () => (await locks.inspect('k'))?.waiters.length === 1)
    const heartbeats = performance.now() + 2_500
    await until('two heartbeats are over', () => performance.now() > heartbeats)
    expect(child.exitCode).toBeNull()
    await lease.release()
    await ended()
    expect(said).toEqual(['waiting', 'held', 'exit 0'])
  })
})
