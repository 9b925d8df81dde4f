"""What runs come to: comparisons, gates, reports, a benchmark log, and plans of machines and their cost."""
