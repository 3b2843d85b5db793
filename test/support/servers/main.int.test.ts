import { expect, test } from 'vitest'
import { checks } from './checks.ts'
import { describeWith } from './index.ts'
import { runServers } from './run-servers.ts'

describeWith(['redis', 'postgres'], 'npm run servers', { private: true }, () => {
  test('prints the addresses once all answer, and stops them with exit code 0 on SIGTERM', async () => {
    const run = runServers(['redis', 'postgres'])
    const [redisLine = '', postgresLine = ''] = await run.lines(2)
    expect(redisLine).toMatch(/^export REDIS_URL=redis:\/\/127\.0\.0\.1:\d+$/)
    expect(postgresLine).toMatch(/^export POSTGRES_URL=postgres:\/\/postgres@127\.0\.0\.1:\d+\/postgres$/)
    await checks.redis.write(urlIn(redisLine), 'a value')
    await checks.postgres.write(urlIn(postgresLine), 'a value')
    run.kill('SIGTERM')
    expect(await run.exit).toEqual({ code: 0, stdout: `${redisLine}\n${postgresLine}\n` })
    await expect(checks.redis.read(urlIn(redisLine))).rejects.toThrow()
    await expect(checks.postgres.read(urlIn(postgresLine))).rejects.toThrow()
    expect(run.foldersLeft()).toEqual([])
  })

  test('exits with 0 and prints no address when it is interrupted while it starts', async () => {
    const run = runServers(['postgres'])
    await run.stderrHas('starting postgres')
    run.kill('SIGINT')
    expect(await run.exit).toEqual({ code: 0, stdout: '' })
    expect(run.foldersLeft()).toEqual([])
  })

  test('leaves neither server nor folder behind when it is killed with SIGKILL', async () => {
    const run = runServers(['redis', 'postgres'])
    const [redisLine = '', postgresLine = ''] = await run.lines(2)
    run.kill('SIGKILL')
    await run.exit
    await expect.poll(() => run.foldersLeft(), { timeout: 60_000 }).toEqual([])
    await expect(checks.redis.read(urlIn(redisLine))).rejects.toThrow()
    await expect(checks.postgres.read(urlIn(postgresLine))).rejects.toThrow()
  })
})

function urlIn(line: string): string {
  return line.slice(line.indexOf('=') + 1)
}
