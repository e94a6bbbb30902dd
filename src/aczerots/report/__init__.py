"""Pictures of label maps, figures, and the self-contained report page of one or several runs."""
