import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { LossyDisk, lossyDiskLack } from './index.ts'

const lack = lossyDiskLack()

it.skipIf(lack)(
  `a disk whose power fails keeps what was synced and nothing else${lack === undefined ? '' : ` (${lack})`}`,
  async () => {
    await using disk = await LossyDisk.create()
    const write = (name: string, text: string, isSynced: boolean): void => {
      const file = openSync(join(disk.folder, name), 'a')
      writeSync(file, text)
      if (isSynced) fsyncSync(file)
      closeSync(file)
    }
    const read = (name: string): string => readFileSync(join(disk.folder, name), 'utf8')
    write('kept', 'a', true)
    write('longer', 'a', true)
    write('longer', 'b', false)
    write('empty', 'b', false)
    expect(read('longer')).toBe('ab')
    expect((await disk.losePower()).toSorted()).toEqual(['empty', 'longer'])
    expect([read('kept'), read('longer')]).toEqual(['a', 'a'])

    write('later', 'c', false)
    await disk.sync()
    expect(await disk.losePower()).toEqual([])
    expect(read('later')).toBe('c')
  },
)
