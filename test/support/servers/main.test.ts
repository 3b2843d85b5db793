import { describe, expect, test } from 'vitest'
import { runServers } from './run-servers.ts'

describe('npm run servers', () => {
  test('refuses an unknown name on one line with exit code 2', async () => {
    const run = runServers(['kafka', 'mysql'])
    expect(await run.exit).toEqual({ code: 2, stdout: '' })
    expect(run.stderr()).toBe(
      'unknown server "mysql": choose from postgres, redis, rabbitmq, kafka, mariadb, or none for all of them, or cluster\n',
    )
  })

  test('shows what can be started, and starts nothing', async () => {
    const run = runServers(['--help'])
    expect(await run.exit).toEqual({ code: 0, stdout: expect.stringContaining('npm run servers -- cluster [--only ') })
    expect(run.stderr()).toBe('')
  })

  test('names what is missing and the remedy on one line each with exit code 2', async () => {
    const run = runServers(['kafka', 'redis'], { CONCORDAT_SERVERS: 'none' })
    expect(await run.exit).toEqual({ code: 2, stdout: '' })
    expect(run.stderr()).toContain(
      '\nkafka: not looked for (CONCORDAT_SERVERS=none); install it (Debian: apt-get install ' +
        'default-jre-headless maven), start Docker, or set KAFKA_BROKERS\n',
    )
    expect(run.stderr()).toMatch(/^redis: .*apt-get install redis-server.*REDIS_URL$/m)
  })
})
