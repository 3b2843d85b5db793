import { describe, expect, test } from 'vitest'
import { neededServers } from './needs.ts'

describe('neededServers', () => {
  test('needs nothing when no file is selected', () => {
    expect(neededServers([])).toEqual({ shared: [], own: [] })
  })

  test('needs a shared server for each kind named in quotes, over all files, once', () => {
    const sources = [
      `describeWith(['redis', "postgres"], 'locks', () => {})`,
      `const harness = { kinds: ['redis'] }`,
      `// rabbitmq in a comment is not a name in quotes`,
    ]
    expect(neededServers(sources)).toEqual({ shared: ['postgres', 'redis'], own: [] })
  })

  test('needs nothing shared for servers that the tests start themselves', () => {
    const source = `
      describeWith(
        ['kafka', 'redis'],
        'a broker that is killed',
        { private: true },
        () => { const broker = await startServer('kafka') },
      )`
    expect(neededServers([source])).toEqual({ shared: [], own: ['redis', 'kafka'] })
  })

  test('tells the two apart in one file', () => {
    const source = `
      describeWith(['redis'], 'shared', () => {})
      describeWith(['rabbitmq'], 'own', { private: true }, () => {})`
    expect(neededServers([source])).toEqual({ shared: ['redis'], own: ['rabbitmq'] })
  })
})
