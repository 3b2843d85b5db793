import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { KINDS } from '../../../examples/transfer/options.ts'
import { makePlan } from '../../../examples/transfer/plan.ts'
import { describeWith } from '../../support/servers/index.ts'
import { isNight } from '../../support/suite/night.ts'

const LIMIT_MS = 300_000
const MAIN = 'examples/transfer/main.ts'
const TRANSFERS = isNight ? 80 : 40
const KILLS = isNight ? 3 : 2
/** Kinds played in each merge run: the one that prepares, and the one whose steps are code. */
const PLAYED = isNight ? KINDS : (['xa', 'code'] as const)

interface Ended {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

function transfer(...args: readonly string[]): Promise<Ended> {
  const flags = ['--conditions=concordat-source', '--disable-warning=TimeoutNegativeWarning', MAIN]
  return new Promise((resolve) => {
    execFile(process.execPath, [...flags, ...args], { timeout: LIMIT_MS }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr }),
    )
  })
}

describeWith(['postgres'], 'npm run transfer', { private: true }, () => {
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'concordat-test-'))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  it.for(PLAYED)(
    'of kind %s: processes die, each transfer ends whole or not at all, and the money holds',
    { timeout: LIMIT_MS },
    async (kind) => {
      const file = join(folder, `${kind}.json`)
      const sizes = ['--transfers', String(TRANSFERS), '--kill', String(KILLS), '--seed', '7']
      const { code, stdout, stderr } = await transfer('--kind', kind, ...sizes, '--report', file)
      expect(code, stdout + stderr).toBe(0)
      expect(stdout).toContain('balanced')
      const { elapsedMs, ...report } = JSON.parse(await readFile(file, 'utf8')) as { elapsedMs: number }
      expect(elapsedMs).toBeGreaterThan(0)
      const options = { kind, transfers: TRANSFERS, kill: KILLS, seed: 7, processes: 2 } as const
      const asked = makePlan({ ...options, postgres: undefined, report: undefined, logLevel: 'error' }).transfers
      const refused = asked.filter(({ to, cents }) => to === 'closed' || cents > 100_000).length
      expect(report).toEqual({
        kind,
        transfers: { asked: TRANSFERS, completed: TRANSFERS - refused, refused, stuck: 0 },
        money: { beforeCents: 2_000_000, afterCents: 2_000_000, balanced: true },
        left: { prepared: 0, rowLocks: 0, open: 0 },
        restarts: KILLS,
      })
    },
  )

  it('reports a mistake in one line, and starts nothing', async () => {
    expect(await transfer('--kind', 'magic')).toEqual({
      code: 2,
      stdout: '',
      stderr: 'transfer: --kind magic: choose saga, tcc, xa, undo, code\n',
    })
    const away = await transfer('--postgres', 'postgres://nobody:secret@127.0.0.1:1/none')
    expect(away).toMatchObject({ code: 2, stdout: '' })
    expect(away.stderr).toMatch(/^transfer: --postgres cannot be used \(.*ECONNREFUSED.*\n$/)
    expect(away.stderr).not.toContain('secret')
  })
})
