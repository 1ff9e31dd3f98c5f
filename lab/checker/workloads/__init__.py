"""What is asked: one module for each workload, with its tables, its calls and how they are asked."""
