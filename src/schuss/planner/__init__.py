"""The planner: what a machine can do, what a step will take on it, and the plan that follows."""
