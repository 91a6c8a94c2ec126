// An SQLite target of which one stream goes back, as after the restore of a backup.

/** What is called takes stream and table `payments` back to where they stand now. */
export function rememberPayments(query: (sql: string) => unknown): () => void {
  query('DROP TABLE IF EXISTS lanes_before');
  query(`CREATE TABLE lanes_before AS SELECT * FROM holdfast_lanes WHERE stream = 'payments'`);
  query('DROP TABLE IF EXISTS payments_before');
  query('CREATE TABLE payments_before AS SELECT * FROM payments');
  return () => {
    query(`DELETE FROM holdfast_ledger WHERE stream = 'payments' AND last_sequence >
      (SELECT settled FROM lanes_before b WHERE b.lane = holdfast_ledger.lane)`);
    query(`DELETE FROM holdfast_lanes WHERE stream = 'payments'`);
    query('INSERT INTO holdfast_lanes SELECT * FROM lanes_before');
    query('DELETE FROM payments');
    query('INSERT INTO payments SELECT * FROM payments_before');
  };
}

/** Rows of `notes`, 1 MB each: after two dozen of them all else has gone from segments of 4 MiB. */
export const fillingNotes = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${JSON.stringify({ body: `${i} `.repeat(400_000) })}\n`);
