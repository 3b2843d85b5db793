/** What operators and deployments need of a service's database, without the service's code. */
export {
  type GrantPrintOptions,
  type MigrationPrintOptions,
  migrationParts,
  printGrants,
  printMigrations,
} from './migrations.ts'
