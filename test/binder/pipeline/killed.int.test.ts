import { describeWith } from '../../support/servers/index.ts'
import { countsOnce } from './support/killed.ts'

describeWith(['postgres'], 'processes of a pipeline that are killed', () => {
  countsOnce({ on: 'postgres', url: () => '', kills: 5 })
})
