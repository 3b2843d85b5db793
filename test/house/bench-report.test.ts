import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, onTestFinished } from 'vitest'

function setup() {
  const folder = mkdtempSync(join(tmpdir(), 'bench-report-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const write = (name: string, content: unknown): string => {
    const file = join(folder, name)
    writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content))
    return file
  }
  return { folder, write }
}

function bench(...args: readonly string[]) {
  const command = ['--conditions=concordat-source', '--expose-gc', 'bench/main.ts', ...args]
  return spawnSync(process.execPath, command, { encoding: 'utf8' })
}

const row = (what: string, ours: number, peer?: number) => ({
  what,
  ours,
  ...(peer === undefined ? {} : { peer, peerName: 'kafkajs 2.2.4' }),
  ratio: { atLeast: 0.9 },
})

const when = { at: '2026-11-22T12:10:30.000Z', rounds: 5 }

function reportOf(rates: readonly number[], turns: string) {
  const [publish = 0, consume = 0] = rates
  return {
    format: 2,
    versions: { node: '24.21.0', kafkajs: '2.2.4' },
    machine: { cpu: 'a CPU', cores: 2, memoryGb: 23 },
    suites: [
      {
        name: 'binder',
        ...when,
        tookS: 61,
        load: { before: 0.4, after: 12.25 },
        results: [row('publish, 200 B', publish, 100_000), row('consume, 200 B', consume, 100_000), row('memory', 5)],
        tables: [],
        leftOut: ['rabbitmq: no server'],
      },
      {
        name: 'locks',
        ...when,
        tookS: 30,
        load: { before: 0.4, after: 0.5 },
        results: [],
        tables: [
          {
            title: 'pairs',
            head: ['at once', 'who', 'ours / theirs'],
            rows: [
              ['1', 'redlock 5', turns],
              ['1', 'us', '-'],
            ],
          },
        ],
        leftOut: [],
      },
    ],
  }
}

describe('npm run bench -- compare', () => {
  it('shows ratios that fell by more than 10 %, the worst first, and ends with 1', ({ expect }) => {
    const { write } = setup()
    const before = write('before.json', reportOf([100_000, 200_000], '1.00'))
    const after = write('after.json', reportOf([89_000, 181_000], '0.50'))
    const { status, stdout } = bench('compare', after, before)
    expect(stdout.trim().split('\n')).toEqual([
      'fell by 50 %: locks: pairs: 1, redlock 5: 1.00 -> 0.50',
      'fell by 11 %: binder: publish, 200 B, beside kafkajs 2.2.4: 1.00 -> 0.89',
      '3 ratios compared, 2 fell by more than 10 %',
    ])
    expect(status).toBe(1)
  })

  it('compares every ratio of a row, the second one by its column', ({ expect }) => {
    const { write } = setup()
    const [, locks] = reportOf([1, 1], '1.00').suites
    const exampleOf = (...ratios: readonly string[]) => {
      const [first = '', second = ''] = ratios
      const head = ['where', 'of DBOS', 'target', 'of DBOS services', 'target']
      const table = { title: 'orders', head, rows: [['postgres', first, '-', second, '-']] }
      return { ...reportOf([1, 1], '1.00'), suites: [{ ...locks, name: 'example', tables: [table] }] }
    }
    const { stdout } = bench('compare', write('now.json', exampleOf('1', '2')), write('then.json', exampleOf('2', '8')))
    expect(stdout.trim().split('\n')).toEqual([
      'fell by 75 %: example: orders: postgres, of DBOS services: 8.00 -> 2.00',
      'fell by 50 %: example: orders: postgres: 2.00 -> 1.00',
      '2 ratios compared, 2 fell by more than 10 %',
    ])
  })

  it('lists measurements that are missing now, of suites that were run', ({ expect }) => {
    const { write } = setup()
    const [binder, locks] = reportOf([100_000, 200_000], '1.00').suites
    const whole = reportOf([100_000, 200_000], '1.00')
    const before = write('before.json', whole)
    const after = write('after.json', { ...whole, suites: [{ ...binder, results: binder?.results.slice(0, 1) }] })
    const { status, stdout } = bench('compare', after, before)
    expect(stdout.trim().split('\n')).toEqual([
      'not measured any more: binder: consume, 200 B, beside kafkajs 2.2.4',
      '1 ratios compared, 0 fell by more than 10 %',
    ])
    expect([status, locks?.name]).toEqual([0, 'locks'])
  })

  it('finds no fall in the committed report compared with itself', ({ expect }) => {
    const { status, stdout, stderr } = bench('compare', 'bench/report.json', 'bench/report.json')
    expect([status, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(/^\d+ ratios compared, 0 fell by more than 10 %\n$/)
  })

  it('compares what each message pays, by size and step', ({ expect }) => {
    const { write } = setup()
    const wireOf = (small: string, large: string) => {
      const [binder] = reportOf([1, 1], '1.00').suites
      const rows = [
        ['200 B', 'concordat', small],
        ['2 KB', 'concordat', large],
      ]
      const table = { title: 'wire', head: ['size', 'who', 'of the first'], rows }
      return { ...reportOf([1, 1], '1.00'), suites: [{ ...binder, results: [], tables: [table] }] }
    }
    const { stdout } = bench(
      'compare',
      write('now.json', wireOf('0.3', '0.7')),
      write('then.json', wireOf('0.6', '0.7')),
    )
    expect(stdout.trim().split('\n')).toEqual([
      'fell by 50 %: binder: wire: 200 B, concordat: 0.60 -> 0.30',
      '2 ratios compared, 1 fell by more than 10 %',
    ])
  })

  it('knows each row of the committed report again in a run in which everything was faster', ({ expect }) => {
    const { write } = setup()
    const report = JSON.parse(readFileSync('bench/report.json', 'utf8')) as {
      readonly suites: ReadonlyArray<{ readonly tables: ReadonlyArray<{ readonly rows: string[][] }> }>
    }
    for (const { tables } of report.suites)
      for (const { rows } of tables)
        for (const cells of rows)
          for (const [n, cell] of cells.entries())
            if (n > 0 && /^\d[\d,.]*$/.test(cell)) cells[n] = (Number(cell.replaceAll(',', '')) * 1.01).toFixed(6)
    const { stdout } = bench('compare', write('faster.json', report), 'bench/report.json')
    expect(stdout).not.toContain('not measured any more')
  })

  it('refuses two ratios of one name, of which only one would be compared', ({ expect }) => {
    const { write } = setup()
    const report = reportOf([1, 1], '1.00')
    const [binder, locks] = report.suites
    const head = ['at once', 'colour', 'ratio']
    const rows = [
      ['1', 'red', '1'],
      ['1', 'blue', '2'],
    ]
    const file = write('r.json', {
      ...report,
      suites: [{ ...binder, ...locks, tables: [{ title: 'pairs', head, rows }] }],
    })
    const { status, stderr } = bench('compare', file, file)
    expect(stderr).toMatch(/^bench: two ratios are called "locks: pairs: 1".*LABEL_COLUMNS.*\n$/)
    expect(status).toBe(2)
  })

  it('ends with 2 when the reports have no ratio in common', ({ expect }) => {
    const { write } = setup()
    const whole = reportOf([100_000, 200_000], '1.00')
    const before = write('before.json', whole)
    const renamed = whole.suites.map((suite) => ({ ...suite, name: `${suite.name}s` }))
    for (const suites of [[], renamed]) {
      const after = write('after.json', { ...whole, suites })
      const { status, stdout, stderr } = bench('compare', after, before)
      expect([status, stdout]).toEqual([2, ''])
      const names = suites.map(({ name }) => name).join(', ') || 'none'
      expect(stderr).toBe(
        `bench: nothing was compared: ${after} and ${before} have no ratio in common. The suites are ${names} and binder, locks\n`,
      )
    }
  })

  it('lists suites that ended with an error', ({ expect }) => {
    const { write } = setup()
    const whole = reportOf([100_000, 200_000], '1.00')
    const [binder, locks] = whole.suites
    const failed = { ...locks, tables: [], failed: 'no Redis' }
    const { stdout } = bench('compare', write('a.json', { ...whole, suites: [binder, failed] }), write('b.json', whole))
    expect(stdout.trim().split('\n')).toEqual([
      'locks ended with an error: no Redis',
      'not measured any more: locks: pairs: 1, redlock 5',
      '2 ratios compared, 0 fell by more than 10 %',
    ])
  })
})

describe('a file that is no whole report', () => {
  const [binder] = reportOf([1, 1], '1.00').suites
  const tables = [{ title: 'pairs', head: ['a'], rows: [['1', '2']] }]
  it.for([
    [{ suites: undefined }, 'is no report of a bench: it has no suites'],
    [{ format: 1 }, 'has format 1, this bench reads 2: make it again'],
    [{ versions: undefined }, 'is no whole report: versions: '],
    [{ machine: { cpu: 'a CPU', cores: '2', memoryGb: 23 } }, 'is no whole report: machine.cores: '],
    [{ suites: [{}] }, 'is no whole report: suites[0].name: '],
    [{ suites: [null] }, 'is no whole report: suites[0]: '],
    [{ suites: [{ ...binder, at: 'yesterday' }] }, 'is no whole report: suites[0].at: '],
    [{ suites: [{ ...binder, results: [{ ...row('publish', 5), ours: null }] }] }, 'suites[0].results[0].ours: '],
    [{ suites: [{ ...binder, tables }] }, 'suites[0].tables[0].rows[0]: has another number of cells than its head'],
    [{ suites: [binder, binder] }, 'is no whole report: suites[1].name: two suites are called "binder"'],
  ] as const)('$1 (refused by compare and tables, which name the file)', ([parts, message], { expect }) => {
    const { write } = setup()
    const file = write('broken.json', { ...reportOf([1, 1], '1.00'), ...parts })
    const page = write('page.md', 'as it was')
    for (const { status, stdout, stderr } of [bench('compare', file), bench('tables', file, page)]) {
      expect([status, stdout]).toEqual([2, ''])
      expect(stderr).toMatch(/^bench: [^\n]+\n$/)
      expect(stderr).toContain(file)
      expect(stderr).toContain(message)
    }
    expect(readFileSync(page, 'utf8')).toBe('as it was')
  })
})

const marks = (name: string, between = ''): string =>
  ['begins', 'ends'].map((each) => `<!-- npm run bench -- tables: ${name} ${each} -->`).join(`\n${between}\n`)

describe('npm run bench -- tables', () => {
  it('writes the tables of each suite between its marks, with date, load and versions', ({ expect }) => {
    const { write } = setup()
    const parts = ['# Before', marks('versions'), marks('locks', 'old'), 'Prose.', marks('binder', 'old'), '# After\n']
    const page = write('page.md', parts.join('\n\n'))
    const report = write('report.json', reportOf([95_000, 85_000], '1.20'))
    expect(bench('tables', report, page)).toMatchObject({ status: 0, stderr: '' })
    const text = readFileSync(page, 'utf8')
    expect(text).not.toContain('old')
    const [head = '', locks = '', binder = ''] = text.split(/ends -->\n\n/)
    expect(head).toContain('node 24.21.0, kafkajs 2.2.4.')
    expect(locks).toContain('Load 0.4 before and 0.5 after, 30 s.')
    expect(locks).toMatch(/\| 1 +\| redlock 5 \| 1.20 +\|/)
    expect(binder).toMatch(/^Prose\.\n/)
    expect(binder).toContain('22 November 2026, 12:10 UTC, medians of 5 rounds, on 2 cores (a CPU) with 23 GB.')
    expect(binder).toContain('Load 0.4 before and 12.25 after, 61 s. More than there are cores')
    expect(binder).toMatch(/\| publish, 200 B +\| 95,000 +\| 100,000 \| 0.95 +\| kafkajs 2.2.4 \| >= 0.90: met +\|/)
    expect(binder).toMatch(/\| 0.85 +\| kafkajs 2.2.4 \| >= 0.90: NOT MET \|/)
    expect(binder).toContain('Left out: rabbitmq: no server')
    expect(text).toMatch(/ends -->\n\n# After\n$/)
    // Made again it is the same.
    bench('tables', report, page)
    expect(readFileSync(page, 'utf8')).toBe(text)
  })

  it('leaves the suites alone that the report has not', ({ expect }) => {
    const { write } = setup()
    const whole = reportOf([95_000, 85_000], '1.20')
    const report = write('report.json', { ...whole, suites: whole.suites.slice(1) })
    const page = write('page.md', [marks('versions'), marks('locks', 'old'), marks('binder', 'as it was')].join('\n'))
    expect(bench('tables', report, page)).toMatchObject({ status: 0, stderr: '' })
    expect(readFileSync(page, 'utf8')).toContain(marks('binder', 'as it was'))
  })

  it('leaves a suite unchanged that ended with an error, reports it and ends with 1', ({ expect }) => {
    const { write } = setup()
    const whole = reportOf([95_000, 85_000], '1.20')
    const suites = whole.suites.map((suite) => (suite.name === 'locks' ? { ...suite, failed: 'no Redis' } : suite))
    const report = write('report.json', { ...whole, suites })
    const page = write('page.md', [marks('versions'), marks('locks', 'as it was'), marks('binder', 'old')].join('\n'))
    const { status, stdout } = bench('tables', report, page)
    expect([status, stdout]).toEqual([1, 'left as it is in the page: locks, which ended with an error: no Redis\n'])
    const text = readFileSync(page, 'utf8')
    expect(text).toContain(marks('locks', 'as it was'))
    expect(text).toContain('| publish, 200 B ')
  })

  it('refuses a page without the marks of a suite, and leaves it unchanged', ({ expect }) => {
    const { write } = setup()
    const page = write('page.md', `${marks('versions')}\n${marks('binder')}\n`)
    const before = readFileSync(page, 'utf8')
    const { status, stderr } = bench('tables', write('r.json', reportOf([1, 1], '1')), page)
    expect([status, stderr]).toEqual([2, expect.stringContaining('tables: locks begins')])
    expect(readFileSync(page, 'utf8')).toBe(before)
  })
})

describe('npm run bench -- --report', () => {
  it('writes versions, machine, load and rows of a run', { timeout: 120_000 }, ({ expect }) => {
    const { folder, write } = setup()
    const file = join(folder, 'report.json')
    const run = () => bench('soak', '--only', 'memory', '--minutes', '0.02', '--rounds', '1', '--report', file)
    const { status, stderr } = run()
    expect(status, stderr).toBe(0)
    const report = JSON.parse(readFileSync(file, 'utf8')) as ReturnType<typeof reportOf>
    expect(report).toMatchObject({ format: 2, versions: { node: process.versions.node } })
    expect(report.suites[0]).toMatchObject({ name: 'soak', rounds: 1, leftOut: [] })
    expect(report.suites[0]?.tables.length).toBeGreaterThan(0)
    expect(report.machine.cores).toBeGreaterThan(0)
    // A report that is there keeps its suites; parts do not replace a whole one.
    const other = { ...reportOf([95_000, 85_000], '1.20'), versions: report.versions, machine: report.machine }
    write('report.json', other)
    expect(run().status).toBe(0)
    const names = (JSON.parse(readFileSync(file, 'utf8')) as typeof report).suites.map(({ name }) => name)
    expect(names).toEqual(['binder', 'locks', 'soak'])
    expect(run()).toMatchObject({ status: 2, stderr: expect.stringContaining('cannot replace the whole of it') })
  })

  it('refuses a report of another machine or other versions before anything is measured', ({ expect }) => {
    const { write } = setup()
    const file = write('report.json', reportOf([1, 1], '1'))
    const before = readFileSync(file, 'utf8')
    expect(bench('soak', '--report', file)).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('another file'),
    })
    expect(readFileSync(file, 'utf8')).toBe(before)
  })
})
