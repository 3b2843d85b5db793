/** Real Seata as sides of the table: a server, and a client process for each of its modes. */
import { cpuUsOfTree } from '../../cpu.ts'
import type { PostgresBed } from '../../postgres-bed.ts'
import type { Burst } from '../../serve.ts'
import { banksOf } from '../banks.ts'
import type { Side } from '../sides.ts'
import { type Mode, SeataClient } from './client.ts'
import { type Programs, seataPrograms, VERSION } from './programs.ts'
import { type SeataServer, startSeata } from './server.ts'
import { databaseStore, FILE_STORE } from './store.ts'

export interface SeataBed {
  readonly postgres: PostgresBed
  readonly stack: AsyncDisposableStack
  readonly progress: (what: string) => void
}

/** Mode of Seata -> our side that does the same. */
const RIVALS: Readonly<Record<Mode, string>> = { at: 'undo, direct', tcc: 'tcc, direct' }
const MODES: readonly Mode[] = ['at', 'tcc']
/** Transfers until Java's compilers have seen the code that is measured, however slow the machine is. Ours are warm after the first round. */
const WARM_UP: Burst = { atOnce: 64, rampMs: 1_000, countedMs: 1_000, atLeast: 4_000 }

/** @throws PeerUnavailable */
export async function seataSides(bed: SeataBed): Promise<readonly Side[]> {
  const { postgres, stack, progress } = bed
  progress(`starting Seata ${VERSION}: a server for each of its stores, a client for each of its modes`)
  const programs = await seataPrograms(stack)
  const stores = { file: FILE_STORE, db: await databaseStore(postgres, 'seata') }
  const sides: Side[] = []
  for (const [store, where] of Object.entries(stores)) {
    const server = stack.use(await startSeata(programs, where))
    for (const mode of MODES) sides.push(await seataSide(bed, programs, server, { mode, store }))
  }
  return sides
}

interface Which {
  readonly mode: Mode
  readonly store: string
}

async function seataSide(bed: SeataBed, programs: Programs, server: SeataServer, which: Which): Promise<Side> {
  const name = `Seata ${which.mode}, ${which.store}`
  const banks = await banksOf(bed.postgres, `seata_${which.mode}_${which.store}`)
  const client = bed.stack.use(await SeataClient.start(programs, which.mode, banks, server.address))
  await client.run(WARM_UP)
  const cpuUs = (): number => cpuUsOfTree(client.pid) + cpuUsOfTree(server.pid)
  return {
    name,
    rival: RIVALS[which.mode],
    run: async (burst) => {
      const before = cpuUs()
      const { refused, ...ran } = await client.run(burst)
      if (refused > 0) bed.progress(`${name}: ${refused} times a transfer was rolled back and made again`)
      return { ...ran, cpuUs: cpuUs() - before }
    },
  }
}
