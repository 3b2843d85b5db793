import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'vitest'

const root = join(import.meta.dirname, '..', '..')

/** Titles that failed when these cases of the suite ran over a broken transport. */
async function failuresOf(fixture: string, titlePattern: string): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'concordat-control-'))
  const output = join(folder, 'report.json')
  const config = join(import.meta.dirname, 'fixtures', 'vitest.config.ts')
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')
  const args = [
    vitest,
    'run',
    '--config',
    config,
    '--reporter=json',
    '--outputFile',
    output,
    '-t',
    titlePattern,
    fixture,
  ]
  try {
    await new Promise((resolve) => execFile(process.execPath, args, { cwd: root }, resolve))
    const report = JSON.parse(await readFile(output, 'utf8')) as Report
    const cases = report.testResults.flatMap(({ assertionResults }) => assertionResults)
    return cases.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

interface Report {
  readonly testResults: readonly { readonly assertionResults: readonly { fullName: string; status: string }[] }[]
}

describe('the conformance suite refuses', { timeout: 120_000 }, () => {
  it('a transport that settles before the handler', async ({ expect }) => {
    const failures = await failuresOf('settles-first', 'settle last .* (again|unconfirmed)')
    expect(failures.join('\n')).toMatch(/hands a message out again when its process went away/)
    expect(failures.join('\n')).toMatch(/does not settle the input while an output is unconfirmed/)
    expect(failures.join('\n')).toMatch(/does not settle the input while its dead letter is unconfirmed/)
  })

  it('a transport that settles before the copy for a delayed retry is confirmed', async ({ expect }) => {
    const failures = await failuresOf('settles-before-the-copy', 'delayed retry .* unconfirmed')
    expect(failures.join('\n')).toMatch(/does not settle the input while the copy for the next attempt is unconfirmed/)
  })

  it('a transport that forgets the key', async ({ expect }) => {
    const failures = await failuresOf('forgets-keys', 'order per key .* under concurrency')
    expect(failures.join('\n')).toMatch(/order per key.*holds under concurrency/)
  })
})
