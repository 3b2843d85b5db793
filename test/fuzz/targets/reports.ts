/** Files of our own commands that people edit, cut off, and take for others: a report of the benches, a run of the proof. */
import { withTables } from '../../../bench/report/markdown.ts'
import { compareReports } from '../../../bench/report/ratios.ts'
import { FORMAT, parseReport } from '../../../bench/report/report.ts'
import { parseRun } from '../../proof/run/folder.ts'
import { hostileJsonText } from '../hostile.ts'
import { isTyped, target } from '../target.ts'

const REPORT = {
  format: FORMAT,
  versions: { node: '24.0.0', concordat: '0.1.0' },
  machine: { cpu: 'a processor', cores: 2, memoryGb: 24 },
  suites: [
    {
      name: 'locks',
      at: '2026-11-24T10:00:00.000Z',
      rounds: 3,
      tookS: 60,
      load: { before: 0.1, after: 1.2 },
      results: [
        { what: 'pairs/s', ours: 1200, peer: 1000, peerName: 'redlock', ratio: { atLeast: 1 } },
        { what: 'p95', ours: 0.9, target: { atMost: 0.9 } },
      ],
      tables: [
        {
          title: 'pairs',
          head: ['at once', 'ratio'],
          rows: [
            ['1', '0.95'],
            ['16', '1.20'],
          ],
        },
      ],
      leftOut: ['quorum: no server'],
    },
  ],
}
const MARKS = ['versions', 'locks'].map((name) => `<!-- npm run bench -- tables: ${name}`)
const PAGE = MARKS.map((mark) => `${mark} begins -->\n${mark} ends -->`).join('\n')

const PATH = 'report.json'
const OWN = /^(?:report\.json |two ratios are called |the page has no lines )/

/** Output and exit codes of these commands. */
const isTold = ({ message }: Error): boolean => OWN.test(message)

export const benchReport = target({
  name: 'bench-report',
  about: 'a report of the benches, made into tables and compared',
  input: (tape) => hostileJsonText(tape, REPORT),
  run(text) {
    const report = parseReport(text, PATH)
    withTables(PAGE, report)
    compareReports(report, parseReport(JSON.stringify(REPORT), PATH))
  },
  refuses: isTold,
})

const RUN = {
  format: 2,
  options: { messages: 1_000_000, faults: 1000, seed: 7, transport: 'rabbitmq' },
  ports: { postgres: { main: 5433 }, rabbitmq: { main: 5673, distribution: 25673 } },
}

export const proofRun = target({
  name: 'proof-run',
  about: 'the file of a run of the proof that goes on',
  input: (tape) => hostileJsonText(tape, RUN),
  run: (text) => void parseRun(text, 'run.json'),
  refuses: isTyped,
})
