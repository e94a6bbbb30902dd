"""The project's database: tiles, rounds, leases, answers, people. Start at :class:`store.ProjectStore`."""
