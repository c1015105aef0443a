@API-1 @DOC-1
Feature: Cancel
  Who cancels gets an answer at once: the job is over, whatever its agent still does. Then the agent is stopped.

  @RUN-4
  Scenario: A job that waits is canceled before it runs
    Given the only slot is taken
    And a waiting job
    When it is canceled
    Then the answer is 202 with the job canceled
    And it never ran

  @RUN-4
  Scenario: A job that runs is canceled, and its agent with it
    Given a running job
    When it is canceled
    Then the answer is 202 with the job canceled
    And its agent is gone

  @RUN-4
  Scenario: Canceling twice changes nothing
    Given a running job
    And it was canceled
    When it is canceled
    Then the answer is 202 with the job canceled
    And its ledger tells of one cancellation

  @JOB-2
  Scenario: What is over cannot be canceled
    Given a completed job
    When it is canceled
    Then the answer is 409 with the code INVALID_TRANSITION
    And it is still completed

  Scenario: Nobody's job cannot be canceled
    Given the id of no job
    When it is canceled
    Then the answer is 404 with the code NOT_FOUND

  @JOB-4
  Scenario: Why it was canceled stands in its ledger
    Given a running job
    When it is canceled because "the order was withdrawn"
    Then the answer is 202 with the job canceled
    And its ledger says "the order was withdrawn"
