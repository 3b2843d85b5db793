import { describe, expect, it } from 'vitest'
import { serverKinds } from './kinds.ts'
import { wantedServers } from './wanted.ts'

describe('the command line of npm run servers', () => {
  it('asks for all servers, for some, for a cluster or for parts of one', () => {
    expect(wantedServers([])).toEqual({ kinds: serverKinds })
    expect(wantedServers(['redis', 'kafka', 'redis'])).toEqual({ kinds: ['redis', 'kafka'] })
    expect(wantedServers(['cluster'])).toEqual({ parts: ['postgres', 'redis', 'rabbitmq', 'kafka'] })
    expect(wantedServers(['cluster', '--only', 'kafka,redis'])).toEqual({ parts: ['redis', 'kafka'] })
  })

  it.each([
    [['cluster', 'redis'], '"cluster" stands alone, not with "redis": name parts as --only kafka,redis'],
    [
      ['cluster', '--only', 'mariadb'],
      '--only: there is no part "mariadb", choose from postgres, redis, rabbitmq, kafka',
    ],
    [['redis', '--only', 'redis'], '--only belongs to "cluster": npm run servers -- cluster --only kafka'],
    [['--all'], /^Unknown option '--all'/],
  ])('%j is refused with the choices', (args, message) => {
    expect(wantedServers(args)).toEqual(typeof message === 'string' ? message : expect.stringMatching(message))
  })
})
