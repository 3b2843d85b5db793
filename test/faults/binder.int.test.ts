import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { describeWith } from '../support/servers/index.ts'

const main = fileURLToPath(new URL('./main.ts', import.meta.url))
/** A run with a mistake plays its faults again until it shows, for up to 150 s. */
const UNTIL_SHOWN = { timeout: 400_000 }

describeWith(['rabbitmq', 'kafka', 'postgres'], 'npm run faults -- binder', { private: true }, () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'concordat-test-'))
    chmodSync(folder, 0o755)
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }))

  async function run(...args: readonly string[]): Promise<{ readonly code: number | null; readonly output: string }> {
    const child = spawn(process.execPath, ['--conditions=concordat-source', main, 'binder', ...args], {
      env: { ...process.env, TMPDIR: folder },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    }
    await once(child, 'close')
    return { code: child.exitCode, output }
  }

  it('passes on every broker while consumers die and connections break, and leaves nothing behind', async () => {
    const faults = ['consumer-kill', 'cut']
    const { code, output } = await run('--seed', '1', '--seconds', '0', '--only', faults.join(','))
    expect(code, output).toBe(0)
    for (const fault of faults) expect(output).toMatch(new RegExp(`^${fault} +1 .* all hold`, 'm'))
    expect(output).toContain('seed 1: every invariant held, every fault happened')
    expect(readdirSync(folder)).toEqual([])
  })

  it('fails with a transport that settles before the handler: violated is "nothing is lost"', UNTIL_SHOWN, async () => {
    const { code, output } = await run('--seed', '2', '--broken', 'settles-first', '--transport', 'rabbitmq')
    expect(code, output).toBe(1)
    expect(output).toMatch(/^violated: nothing is lost \(.*\)\nunder the fault: consumer-kill\n {2}\S/m)
    expect(output).toMatch(/was accepted, and it was never handled to the end/)
    expect(output).toContain('replay: npm run faults -- binder --seed 2 --broken settles-first --transport rabbitmq')
    const history = /^history: (.*)$/m.exec(output)?.[1] ?? ''
    expect(readFileSync(history, 'utf8')).toContain('"op":"lingers"')
  })

  it.for([
    ['trusts-last', 'nothing is lost'],
    ['takes-held', 'one at a time'],
    ['splits-assign', 'nothing is lost'],
    ['acks-unfenced', 'places go forward'],
  ])('fails on PostgreSQL with the mistake %s: violated is %s', UNTIL_SHOWN, async ([mistake = '', invariant = '']) => {
    const { code, output } = await run('--seed', '1', '--broken', mistake, '--transport', 'postgres')
    expect(code, output).toBe(1)
    expect(output).toMatch(new RegExp(`^violated: ${invariant} \\(`, 'm'))
    expect(output).toContain(`replay: npm run faults -- binder --seed 1 --broken ${mistake} --transport postgres`)
  })
})
