import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { redlockLocks } from 'concordat/redis'
import { Cluster, Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'

const [a, b, c, d] = ['redis://a', 'redis://b', 'redis://c', 'redis://d'] as const

describe('the servers of a quorum', () => {
  it('are an odd number, three or more', async () => {
    expect(() => redlockLocks({ urls: [] })).toThrow('redlockLocks.urls.length: expected an odd number')
    expect(() => redlockLocks({ urls: [a, b] })).toThrow('add or leave one), got 2')
    expect(() => redlockLocks({ urls: [a, b, c, d] })).toThrow(RangeError)
    expect(() => redlockLocks({ urls: [a] })).toThrow('for one server use redisLocks')
    await redlockLocks({ urls: [a, b, c] }).close()
  })

  it('are counted once each, with any spelling of their addresses', () => {
    expect(() => redlockLocks({ urls: [a, b, a] })).toThrow('redlockLocks.urls[2]: expected each server once')
    expect(() => redlockLocks({ urls: [a, b, 'rediss://user:secret@A:6379/3?x=y'] })).toThrow('a:6379 (as [0])')
    const client = new Redis({ lazyConnect: true })
    const [other, third] = [new Redis(7001, { lazyConnect: true }), new Redis(7002, { lazyConnect: true })]
    expect(() => redlockLocks({ clients: [client, other, client] })).toThrow('redlockLocks.clients[2]')
    expect(() => redlockLocks({ clients: [other, client.duplicate(), client] })).toThrow('localhost:6379 (as [1])')
    expect(() => redlockLocks({ clients: [client, other, third] })).not.toThrow()
  })

  it('show no password in an error', () => {
    const urls = [a, 'redis://user:secret@b:7000', 'redis://user:secret@b:7000']
    expect(() => redlockLocks({ urls })).toThrow(expect.not.objectContaining({ message: /secret/ }))
  })

  it('are no cluster: that is one part of no quorum', () => {
    const cluster = new Cluster([], { lazyConnect: true })
    const clients = [cluster, new Redis(7001, { lazyConnect: true }), new Redis(7002, { lazyConnect: true })]
    expect(() => redlockLocks({ clients })).toThrow('redlockLocks.clients[0]: expected a client of one server')
  })
})

describe('redlockLocks', () => {
  it('name the option that is wrong', () => {
    const urls = [a, b, c]
    expect(() => redlockLocks({ urls, clients: [] })).toThrow('expected either clients')
    expect(() => redlockLocks({ urls, answerMs: 5 })).toThrow('redlockLocks.answerMs: expected a whole number >= 10')
    expect(() => redlockLocks({ urls, pollMs: 0 })).toThrow('redlockLocks.pollMs')
    expect(() => redlockLocks({ urls, restartGraceMs: -1 })).toThrow('redlockLocks.restartGraceMs')
    expect(() => redlockLocks({ urls, prefix: '' })).toThrow('redlockLocks.prefix')
  })

  it('name the package to install when redlock is missing', async () => {
    const program = `
      import { registerHooks } from 'node:module'
      const resolve = (name, context, next) => {
        if (name === 'redlock') throw new Error('Cannot find package')
        return next(name, context)
      }
      registerHooks({ resolve })
      const { redlockLocks } = await import('concordat/redis')
      const locks = redlockLocks({ urls: ['redis://127.0.0.1:1', 'redis://127.0.0.1:2', 'redis://127.0.0.1:3'] })
      const error = await locks.tryAcquire('k').catch((caught) => caught)
      console.log(error.code, error.message)
      await locks.close()`
    const args = ['--conditions=concordat-source', '--input-type=module', '-e', program]
    const { stdout } = await promisify(execFile)(process.execPath, args)
    expect(stdout).toContain('locks.store_refused')
    expect(stdout).toContain('npm install redlock@5.0.0-beta.2')
  })

  it('refuse a lease that could outlive the silence of a server that forgot it', async () => {
    await using locks = redlockLocks({ urls: [a, b, c] })
    const tooLong = locks.tryAcquire('k', { ttlMs: 25_000, lockDelayMs: 6_000 })
    await expect(tooLong).rejects.toThrow('lock("k").ttlMs: expected at most redlockLocks.restartGraceMs (30000')
  })

  it('refuse options that a quorum lacks', async () => {
    await using locks = redlockLocks({ urls: [a, b, c] })
    await expect(locks.tryAcquire('k', { mode: 'shared' })).rejects.toMatchObject({ code: 'locks.unsupported' })
    await expect(locks.tryAcquire('k', { permits: 2 })).rejects.toMatchObject({ code: 'locks.unsupported' })
    await expect(locks.list()).rejects.toMatchObject({ code: 'locks.unsupported' })
    await expect(locks.forceRelease('k', { by: 'me', reason: 'test' })).rejects.toMatchObject({
      code: 'locks.unsupported',
      message: expect.stringContaining('on each of them'),
    })
  })
})
