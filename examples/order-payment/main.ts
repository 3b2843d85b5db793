/**
 * The order-payment example. `npm start -- --help` lists what it takes; README.md in this folder tells what it does.
 *
 * Exit codes: 0 every order reached an end and both balances hold; 1 not; 2 a mistake in the command line or an
 * unreachable server, nothing was started; 130 and 143 ended by SIGINT and SIGTERM.
 */
import { dieWithNpm } from './run/orphan.ts'

// Before anything is loaded, which takes a moment in which npm may be killed.
dieWithNpm()
const { runProgram } = await import('./program.ts')
await runProgram()
