"""The layers of a network, products that repeat on any CPU, and networks stacked as one."""
