import { execFile } from 'node:child_process'
import { globSync, readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { expectedOutput } from './support/numbered.ts'

const run = promisify(execFile)
const FLAGS = ['--disable-warning=TimeoutNegativeWarning', '--conditions=concordat-source']
const files = globSync('examples/[0-9][0-9]-*.ts').sort()

// Making a database takes a busy machine more than half a minute.
describe('the numbered examples', { timeout: 120_000 }, () => {
  test('are nine, each on one screen', () => {
    expect(files).toHaveLength(9)
    for (const file of files) expect(readFileSync(file, 'utf8').split('\n').length, file).toBeLessThanOrEqual(61)
  })

  test.each(files.filter((file) => !file.includes('07-kafka')))('%s prints its documented output', async (file) => {
    const { stdout, stderr } = await run(process.execPath, [...FLAGS, file])
    expect(stdout).toBe(expectedOutput(file))
    expect(stderr).toBe('')
  })

  test('npm run example lists them, runs one by its number, and refuses others', async () => {
    const script = 'examples/run.ts'
    const listed = await run(process.execPath, [...FLAGS, script])
    for (const file of files)
      expect(listed.stderr).toContain(`  ${file.slice('examples/'.length, 'examples/'.length + 2)}  `)
    expect((await run(process.execPath, [...FLAGS, script, '1'])).stdout).toBe(expectedOutput('examples/01-channel.ts'))
    await expect(run(process.execPath, [...FLAGS, script, '99'])).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining('There is no example "99"'),
    })
  })
})
