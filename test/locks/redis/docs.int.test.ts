import { execFile } from 'node:child_process'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import { expect, it } from 'vitest'
import { describeWith, serverUrl } from '../../support/servers/index.ts'

const MARKED = /<!-- run on redis -->\n+```ts\n(?<code>[\s\S]*?)```\n+```text\n(?<prints>[\s\S]*?)```/g
const execute = promisify(execFile)

describeWith(['redis'], 'the page about locks on Redis', () => {
  it('has snippets that type-check and print their documented output', async () => {
    const url = serverUrl('redis') as string
    const text = await readFile('docs/brokers/redis.md', 'utf8')
    const snippets = [...text.matchAll(MARKED)].map(({ groups }) => groups as { code: string; prints: string })
    expect(snippets).toHaveLength(text.split('<!-- run on redis -->').length - 1)
    const folder = resolve('.cache', `redis-snippets-${process.pid}`)
    const keys = [
      'stock:42',
      'concordat:fence:{stock:42}',
      'concordat:lock:{stock:42}',
      'concordat:lock:{stock:42}:fence',
    ]
    const client = new Redis(url)
    await mkdir(folder, { recursive: true })
    try {
      await client.del(keys)
      const tsconfig = { extends: resolve('tsconfig.json'), include: ['*.ts'], exclude: [] }
      await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(tsconfig))
      for (const [n, { code, prints }] of snippets.entries()) {
        const file = join(folder, `snippet-${n}.ts`)
        await writeFile(file, code.replaceAll('redis://127.0.0.1:6379', url))
        const { stdout } = await execute(process.execPath, ['--conditions=concordat-source', file])
        expect(stdout).toBe(prints)
      }
      const tsc = resolve('node_modules/typescript/bin/tsc')
      const found = await execute(process.execPath, [tsc, '-p', folder]).catch((error: { stdout: string }) => error)
      expect(found.stdout).toBe('')
    } finally {
      await client.del(keys)
      client.disconnect()
      await rm(folder, { recursive: true, force: true })
    }
  })
})
