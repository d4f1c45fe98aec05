"""Calls a crew with CrewAI's own client, unchanged.

Reads one JSON object from standard input, `{"url", "token", "inputs", "seconds"}`, and prints as its last line what the tool
returned to its agent, as `{"returned": …}`.
"""

import json
import sys

from crewai_tools import InvokeCrewAIAutomationTool
from pydantic import Field

asked = json.load(sys.stdin)
tool = InvokeCrewAIAutomationTool(
    crew_api_url=asked["url"],
    crew_bearer_token=asked["token"],
    crew_name="support",
    crew_description="Writes reports about customers.",
    max_polling_time=asked["seconds"],
    crew_inputs={name: Field(..., description=name) for name in asked["inputs"]},
)
returned = tool.run(**asked["inputs"])
print("\n" + json.dumps({"returned": returned}))
