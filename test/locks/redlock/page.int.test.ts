import { execFile } from 'node:child_process'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { Quorum } from '../../support/locks/quorum.ts'
import { describeWith } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

const SNIPPET = /<!-- run on three Redis servers -->\n+```ts\n(?<code>[\s\S]*?)```\n+```text\n(?<prints>[\s\S]*?)```/

describeWith(['redis'], 'docs/brokers/redis.md', { private: true }, () => {
  it('has a program that prints the page’s output', async () => {
    const { code = '', prints } = SNIPPET.exec(await readFile('docs/brokers/redis.md', 'utf8'))?.groups ?? {}
    const quorum = await Quorum.start(3)
    const folder = resolve('.cache', `quorum-page-${process.pid}`)
    try {
      const names = ['redis-a', 'redis-b', 'redis-c']
      const program = names.reduce((text, name, n) => text.replace(`redis://${name}:6379`, quorum.urls[n] ?? ''), code)
      await mkdir(folder, { recursive: true })
      await writeFile(resolve(folder, 'page.ts'), program)
      await until('the servers are older than the grace', async () => {
        const infos = await quorum.everywhere((client) => client.info('server'))
        return infos.every((info) => Number(/uptime_in_seconds:(\d+)/.exec(info)?.[1]) > 6)
      })
      const args = ['--conditions=concordat-source', resolve(folder, 'page.ts')]
      const { stdout } = await promisify(execFile)(process.execPath, args)
      expect(stdout).toBe(prints)
    } finally {
      await rm(folder, { recursive: true, force: true })
      await quorum.close()
    }
  })
})
