import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { help, MISTAKES, parseCommand } from './command-line.ts'
import { UsageError } from './errors.ts'
import { RunFolder } from './run/folder.ts'

describe('the command line', () => {
  it('has a small run on RabbitMQ for a default', () => {
    expect(parseCommand([])).toMatchObject({
      options: { transport: 'rabbitmq', messages: 12_000, faults: 20, seed: 1, broken: undefined },
      resumes: false,
      report: undefined,
    })
  })

  it.for([
    [['--transport', 'nats'], '--transport', 'nats'],
    [['--messages', '0'], '--messages', '0'],
    [['--messages', '1e6'], '--messages', '1e6'],
    [['--messages', '99999999999'], '--messages', '99999999999'],
    [['--faults', '-1'], 'command line', '--faults -1'],
    [['--faults', 'many'], '--faults', 'many'],
    [['--messages', '58', '--faults', '11'], '--faults', 11],
    [['--seed', ''], '--seed', ''],
    [['--broken', 'toString'], '--broken', 'toString'],
    [['--report', ''], '--report', ''],
    [['--resume'], '--resume', true],
    [['fast'], 'command line', 'fast'],
    [['--speed', '3'], 'command line', '--speed 3'],
  ] as const)('refuses %j, with valid values', ([args, path, value]) => {
    const refusal = refused(() => parseCommand(args))
    expect(refusal).toMatchObject({ code: 'proof.usage', path, value })
    expect(refusal.message).toBe(`${path}: got ${JSON.stringify(value)}. ${refusal.remedy}`)
    expect(refusal.remedy).toMatch(/\.$/)
  })

  it('lists every mistake in its help, and resumes with the options of the folder', () => {
    for (const mistake of Object.keys(MISTAKES)) expect(help()).toContain(mistake)
    expect(parseCommand(['--help'])).toBeUndefined()
    expect(parseCommand(['--dir', 'there', '--resume'])).toMatchObject({ options: undefined, said: {}, resumes: true })
  })
})

describe('the folder of a run', () => {
  let folder = ''
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'concordat-test-'))
    chmodSync(folder, 0o755)
  })
  afterEach(() => rmSync(folder, { recursive: true }))
  const dir = (): string => join(folder, 'run')
  const hold = (...args: string[]): Promise<RunFolder> => {
    const given = parseCommand(['--dir', dir(), ...args])
    return RunFolder.open(given as NonNullable<typeof given>, () =>
      Promise.resolve({ postgres: { port: 1, innerPort: 2 } }),
    )
  }
  const open = async (...args: string[]): Promise<RunFolder> => {
    const run = await hold(...args)
    run.close()
    return run
  }

  it('is refused while another process is at work in it', async () => {
    const run = await hold()
    await expect(hold('--resume')).rejects.toThrow(/--dir: got ".*run". The process \d+ is at work in it/)
    run.close()
    await expect(open('--resume')).resolves.toBeDefined()
  })

  it('continues with its own options and ports', async () => {
    await open('--transport', 'kafka', '--seed', '9')
    const { file } = await open('--resume')
    expect(file.options).toMatchObject({ transport: 'kafka', messages: 12_000, seed: 9 })
    expect(file.ports).toEqual({ postgres: { port: 1, innerPort: 2 } })
    await expect(open('--resume', '--seed', '9')).resolves.toBeDefined()
  })

  it('is refused to a run with other options, and to a new one', async () => {
    await open('--seed', '9')
    await expect(open('--resume', '--seed', '8')).rejects.toThrow(
      /--dir: got ".*run". It holds a run of --seed 9: name another folder, or leave these options out and add --resume\./,
    )
    await expect(open('--seed', '9')).rejects.toThrow('It holds a run already: go on with it by --resume')
  })

  it('is refused when it holds something else, or no run to resume', async () => {
    await expect(open('--resume')).rejects.toThrow('It holds no run: leave --resume out to begin one.')
    mkdirSync(dir())
    writeFileSync(join(dir(), 'letter.txt'), 'mine')
    await expect(open()).rejects.toThrow('It holds something else')
    expect(readFileSync(join(dir(), 'letter.txt'), 'utf8')).toBe('mine')
    expect(readdirSync(dir())).toEqual(['letter.txt'])
    writeFileSync(join(dir(), 'run.json'), '{"format": 99}')
    await expect(open('--resume')).rejects.toThrow('run.json: got 99. It was written by another version')
    writeFileSync(join(dir(), 'run.json'), '{')
    await expect(open('--resume')).rejects.toThrow(UsageError)
  })

  it('drops a line that a kill cut short, and reads the others one by one', async () => {
    const run = await open()
    for (const n of [1, 2, 3]) run.append('faults', { n })
    const path = join(dir(), 'faults.jsonl')
    writeFileSync(path, `${readFileSync(path, 'utf8')}{"n": 4, "ki`)
    const again = await open('--resume')
    again.append('faults', { n: 5 })
    const lines: unknown[] = []
    for await (const line of again.read('faults')) lines.push(line)
    expect(lines).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }, { n: 5 }])
    expect(existsSync(join(dir(), 'samples.jsonl'))).toBe(false)
  })
})

function refused(work: () => unknown): UsageError {
  try {
    work()
  } catch (error) {
    if (error instanceof UsageError) return error
    throw error
  }
  throw new Error('it was not refused')
}
