"""The agent that runs in the guest on its second serial port, and the client that asks it."""

from hdvlab.systems.qemu.agent.agent import Agent
from hdvlab.systems.qemu.agent.binary import agent_binary
from hdvlab.systems.qemu.agent.line import Greeting
from hdvlab.systems.qemu.agent.running import Completed, Running

__all__ = ["Agent", "Completed", "Greeting", "Running", "agent_binary"]
