"""Images, compose and the chart: what can be judged without a container engine or a cluster."""
